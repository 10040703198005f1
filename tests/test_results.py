"""Results of an evaluation, and their file."""

from __future__ import annotations

import json

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from knowledge_plugin.errors import ConfigError
from knowledge_plugin.results import (
    LEADERBOARD_NAME,
    MAX_RESULTS,
    RESULT_FILES,
    RESULTS_NAME,
    EvaluationResult,
    Score,
    read_results,
    write_results,
)
from tests.hub.card_snapshots import RESULTS, SHA


def test_they_come_back(tmp_path):
    write_results(tmp_path, RESULTS)
    assert read_results(tmp_path) == RESULTS


def test_no_results_no_file(tmp_path):
    write_results(tmp_path, [])
    assert not list(tmp_path.iterdir())
    assert read_results(tmp_path) == []


def test_a_benchmark_of_the_hub_gets_its_entry(tmp_path):
    write_results(tmp_path, RESULTS)
    written = (tmp_path / LEADERBOARD_NAME).read_text(encoding="utf-8")
    (entry,) = parse_eval_result_entries(yaml.safe_load(written))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("org/towns", "country", 0.9)
    assert entry.dataset_revision == SHA[:40]
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == set(
        RESULT_FILES
    )


def test_no_benchmark_no_entry(tmp_path):
    write_results(tmp_path, RESULTS[1:])
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS_NAME]


@pytest.mark.parametrize(
    "score",
    [("0.5",), (True,), (float("nan"),), (float("inf"),), (0.5, 0.1), (0.5, 0.6, 0.7), (0.5, 0.1, 0.4), (None,)],
)
def test_a_score_that_is_none(score):
    with pytest.raises(ConfigError):
        Score(*score)


@pytest.mark.parametrize(
    "change",
    [
        {"task": ""},
        {"metric": " "},
        {"dataset": 3},
        {"controls": {"placebo": Score(0.1)}},
        {"controls": {"none": 0.1}},
        {"n": -1},
        {"n": 0.5},
        {"seeds": [0.5]},
        {"seeds": list(range(10_001))},
        {"task_id": "t"},
        {"score": 0.5},
    ],
)
def test_a_result_that_is_none(change):
    with pytest.raises(ConfigError):
        EvaluationResult(**{"task": "t", "dataset": "d", "metric": "m", "score": Score(1)} | change)


def test_whole_numbers_are_figures():
    assert Score(1, 0, 2) == Score(1.0, 0.0, 2.0)


def test_the_mean_of_several_runs_lies_between_them():
    score = Score.over([0.1] * 7)
    assert (score.low, score.value, score.high) == (0.1, 0.1, 0.1)
    assert Score.over([0.5]) == Score(0.5)


RESULT = {"task": "t", "dataset": "d", "metric": "m", "score": {"value": 0.5}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"results": null}',
        '{"results": {}}',
        '{"results": [1]}',
        '{"results": [{}]}',
        '{"results": [], "results": []}',
        json.dumps({"results": [RESULT | {"score": {"value": "high"}}]}),
        json.dumps({"results": [RESULT | {"score": {"value": float("nan")}}]}),
        json.dumps({"results": [RESULT] * (MAX_RESULTS + 1)}),
        "[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_cannot_be_read_is_left_out_with_a_warning(tmp_path, text):
    (tmp_path / RESULTS_NAME).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.warns(UserWarning, match=r"evaluation\.json.*left out"):
        assert read_results(tmp_path) == []


def test_what_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / RESULTS_NAME, "wb") as file:
        file.truncate(2**25)
    with pytest.warns(UserWarning, match="at most"):
        assert read_results(tmp_path) == []


def test_what_a_later_version_says_is_passed_over(tmp_path):
    (tmp_path / RESULTS_NAME).write_text(json.dumps({"format_version": "1.9", "results": [RESULT | {"new": 1}]}))
    with pytest.warns(UserWarning, match="new"):
        assert read_results(tmp_path) == [EvaluationResult("t", "d", "m", Score(0.5))]
