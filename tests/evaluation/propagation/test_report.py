"""What a report says of itself."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from knowledge_plugin.evaluation.propagation import propagation
from tests.evaluation.propagation import counting


@pytest.fixture(scope="module")
def report():
    tokenizer = counting.make_tokenizer()
    model = counting.make_model("causal", tokenizer)
    plugin = counting.plugin_for(model, tokenizer, counting.knowledge())
    return propagation(plugin, model, tokenizer, counting.inferences(), resamples=100, progress=False)


def changed(report, condition, over, **values):
    contrasts = tuple(
        replace(each, **values) if (each.condition, each.over) == (condition, over) else each
        for each in report.contrasts
    )
    return replace(report, contrasts=contrasts)


def test_verdicts(report):
    assert "points of accuracy" in report.verdict
    assert "The definition in the text brings +100.0" in report.verdict
    assert changed(report, "plugin", "shuffled", low=-0.1).verdict.startswith("No propagation is shown")
    assert "none over the model as it is" in changed(report, "plugin", "none", low=-0.1).verdict
    assert changed(report, "plugin", "shuffled", low=None, high=None).verdict.startswith("Too few entities")
    beaten = changed(report, "plugin", "majority", low=-0.1).verdict
    assert "not shown to beat the most frequent answer" in beaten
    easy = [each for each in report.figures if each.part != "hard"]
    assert "nothing else is asked" in replace(report, figures=tuple(easy)).verdict
    assert "not known" in replace(report, contrasts=()).verdict


def test_less_perplexity_is_better():
    tokenizer = counting.make_tokenizer()
    model = counting.make_model("causal", tokenizer)
    plugin = counting.plugin_for(model, tokenizer, counting.knowledge())
    found = propagation(plugin, model, tokenizer, counting.spans(), resamples=100, progress=False)
    assert found.contrast("plugin", "none", part="hard").high < 0
    assert found.verdict.startswith("Knowledge propagates")
    worse = changed(found, "plugin", "shuffled", low=0.1, high=0.2, difference=0.15)
    assert worse.verdict.startswith("No propagation is shown")


def test_as_plain_values_and_as_a_file(report, tmp_path):
    report.save(tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["verdict"] == report.verdict
    assert {each["condition"] for each in found["figures"]} >= {"none", "another", "prepend", "plugin", "majority"}
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_what_a_card_shows(report):
    result = report.as_result("invented shows")
    assert (result.metric, result.score.value, result.n) == ("accuracy", 1.0, counting.N)
    assert set(result.controls) == {"none", "shuffled", "random", "text"}
    assert result.task == "text-generation"


def test_figures_that_are_not_there(report):
    with pytest.raises(KeyError):
        report.figure("zero")
    assert report.contrast("zero", "none") is None
