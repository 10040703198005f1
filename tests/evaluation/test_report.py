from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest

from knowledge_plugin.evaluation.probe import Probe
from knowledge_plugin.evaluation.report import Comparison, Report, Result

GAIN = Comparison("shuffled", "all", 0.4, 0.3, 0.5, 0.0005)
OVER_NONE = Comparison("none", "all", 0.25, 0.2, 0.3, 0.0005)


def results(part="all", rows=60):
    return tuple(
        Result(name, part, value, value - 0.1, value + 0.05, rows)
        for name, value in {"none": 0.6, "plugin": 0.85, "shuffled": 0.45}.items()
    )


def report(**changes):
    values = {
        "task": "text-classification",
        "dataset": "towns",
        "metric": "accuracy",
        "higher_is_better": True,
        "model": "user/model",
        "knowledge_base": "GeoNames",
        "form": "concat",
        "results": results(),
        "comparisons": (GAIN, OVER_NONE),
        "rows": 60,
        "rows_with_mentions": 50,
        "mentions_linked": 55,
        "entities": 30,
        "entities_seen": None,
        "entities_unseen": None,
        "clusters": 40,
        "probe": None,
        "omitted": {},
        "notes": (),
        "test": "a test",
        "confidence": 0.95,
        "resamples": 2000,
        "seed": 0,
        "text_template": None,
        "seconds": {"none": 1.0, "plugin": 2.0, "shuffled": 2.0},
        "tokens_per_second": {"none": 12345.6, "plugin": 999.0, "shuffled": 1000.0},
        "versions": {"torch": "2"},
    }
    return Report(**values | changes)


def first_line(**changes):
    return str(report(**changes)).splitlines()[0]


# ---- the first line ------------------------------------------------------------------------------------------------


def test_a_gain():
    assert first_line() == (
        "A gain is shown: plugin minus shuffled is +40.0 points of accuracy (95 % interval +30.0 to +50.0), "
        "and plugin minus nothing +25.0 points of accuracy (95 % interval +20.0 to +30.0)."
    )


def test_the_linker_found_nothing():
    line = first_line(mentions_linked=0, rows_with_mentions=0, entities=0)
    assert line.startswith("The linker found no mention in any of the 60 rows: nothing was plugged in")


@pytest.mark.parametrize(("low", "high"), [(-0.01, 0.03), (0.0, 0.0), (0.0, 0.1), (-0.1, 0.0)])
def test_an_interval_that_holds_zero(low, high):
    line = first_line(comparisons=(replace(GAIN, difference=0.01, low=low, high=high), OVER_NONE))
    assert line.startswith("No gain is shown: plugin minus shuffled is +1.0 points of accuracy (95 % interval")
    assert line.endswith("which holds zero.")


def test_harm():
    assert first_line(comparisons=(Comparison("shuffled", "all", -0.2, -0.3, -0.1, 0.001),)).startswith(
        "The plugin does harm: plugin minus shuffled is -20.0"
    )


def test_where_less_is_better_a_gain_lies_below_zero():
    below = Comparison("shuffled", "all", -1.5, -2.0, -1.0, 0.001), Comparison("none", "all", -0.5, -0.7, -0.3, 0.001)
    line = first_line(metric="perplexity", higher_is_better=False, comparisons=below)
    assert line == (
        "A gain is shown: plugin minus shuffled is -1.5 perplexity (95 % interval -2 to -1), and plugin minus nothing "
        "-0.5 perplexity (95 % interval -0.7 to -0.3)."
    )
    above = (replace(GAIN, difference=1.5, low=1.0, high=2.0),)
    assert first_line(metric="loss", higher_is_better=False, comparisons=above).startswith("The plugin does harm")


def test_better_than_shuffled_but_not_than_nothing():
    line = first_line(comparisons=(GAIN, replace(OVER_NONE, difference=0.01, low=-0.02, high=0.04)))
    assert "but none over the model as it is: plugin minus nothing is +1.0" in line


def test_no_shuffled_control():
    assert first_line(comparisons=(OVER_NONE,)).startswith("Without the control of shuffled vectors")


def test_one_entity():
    line = first_line(comparisons=(Comparison("shuffled", "all", 1.0, None, None, None),))
    assert line == "Too few entities for an interval: plugin minus shuffled is +100.0 points of accuracy."


def test_what_counts_are_entities_never_seen_in_training():
    unseen = Comparison("shuffled", "unseen", 0.0, -0.1, 0.1, 0.9)
    parts = results() + results("seen", 20) + results("unseen", 40)
    line = first_line(results=parts, comparisons=(GAIN, OVER_NONE, unseen), entities_seen=10, entities_unseen=20)
    assert line.startswith("No gain is shown: on entities never seen in training, plugin minus shuffled is +0.0")


def test_nothing_but_entities_seen_in_training():
    line = first_line(results=results() + results("seen", 60), entities_seen=30, entities_unseen=0)
    assert line.startswith("A gain is shown")
    assert line.endswith("may be learned by heart.")


# ---- the rest ------------------------------------------------------------------------------------------------------


def test_the_table():
    lines = str(report()).splitlines()
    assert "user/model (text-classification) with GeoNames: 55 mentions linked in 50 of 60 rows of towns" in lines[1]
    row = next(line for line in lines if "shuffled vectors" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "shuffled vectors",
        "60",
        "45.0",
        "35.0 to 50.0",
        "+40.0",
        "+30.0 to +50.0",
        "< 0.001",
        "1,000",
    ]
    assert len({len(line) for line in lines if line.startswith(("│", "┃"))}) == 1


def test_what_a_reader_should_know_stands_below():
    probe = Probe(0.97, 0.9, 1.0, 0.05, 30, 20, 5)
    text = str(
        report(probe=probe, omitted={"text": "no descriptions."}, notes=("Careful.",), clusters=12, text_template="{d}")
    )
    for expected in (
        "97.0 % (90.0 to 100.0) of 30 entities get their label, of 20; the most frequent label would get 5.0 %",
        "Left out: text: no descriptions.",
        "Careful.",
        "Only 12 entities, or rows without one: intervals over so few are too narrow.",
        "`{d}`",
        "a test, 2000 draws, seed 0.",
    ):
        assert expected in text


def test_the_card_section():
    parts = results() + results("unseen", 40)
    text = report(results=parts, comparisons=(GAIN, OVER_NONE), entities_seen=1, entities_unseen=29).to_markdown()
    lines = text.splitlines()
    assert lines[0] == "## Evaluation"
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert "| **the plugin** | **60** | **85.0** | **75.0 to 90.0** |  |  |  | **999** |" in table
    assert any("*sentences about entities never seen in training*" in line for line in table)
    assert "****" not in text
    assert text.endswith("\n")


def test_plain_values():
    parts = results() + results("unseen", 40)
    data = report(results=parts, probe=Probe(0.9, None, None, 0.5, 30, 2, 5)).to_dict()
    assert data["values"] == {"none": 0.6, "plugin": 0.85, "shuffled": 0.45}
    assert data["intervals"]["none"] == [0.5, pytest.approx(0.65)]
    assert data["gains"]["shuffled"] == {"difference": 0.4, "low": 0.3, "high": 0.5, "p_value": 0.0005}
    assert data["n"] == 60
    assert data["parts"]["unseen"]["n"] == 40
    assert data["probe"]["accuracy"] == 0.9
    assert data["verdict"] == report(results=parts).verdict
    assert {"task", "dataset", "metric", "mentions_linked", "entities_unseen", "seed", "versions", "seconds"} <= set(
        data
    )


def test_json(tmp_path):
    nan = replace(results()[0], value=float("nan"))
    one = report(results=(nan, *results()[1:]), knowledge_base="Städte")
    one.save(tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(one.to_json())
    assert json.loads(text)["values"]["none"] is None
    assert "Städte" in text
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    path.write_text("old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *args: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        report().save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]
    assert path.read_text() == "old"


def test_asking_for_one_figure():
    assert report()["plugin"].value == 0.85
    assert report().gain() == GAIN
    assert report().gain("random") is None
    with pytest.raises(KeyError, match="random"):
        report()["random"]


def test_a_report_does_not_change():
    with pytest.raises(FrozenInstanceError):
        report().seed = 1


def test_what_a_card_shows_of_it():
    made = report()
    result = made.as_result("cities")
    assert (result.task, result.dataset, result.metric, result.n) == (made.task, "cities", made.metric, made.rows)
    assert result.score.value == made["plugin"].value
    assert result.score.low <= result.score.value <= result.score.high
    assert result.controls["shuffled"].value == made["shuffled"].value
    assert set(result.controls) <= {"none", "shuffled", "random", "text"}
    assert (result.mentions_linked, result.unseen_entities) == (made.mentions_linked, made.entities_unseen)
