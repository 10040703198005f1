"""The cards of the example plugins are what their figures make of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from examples.cards import EXAMPLES, INVENTED, render
from knowledge_plugin.hub.seal import Parts
from knowledge_plugin.registry import find_method

ROOT = Path(__file__).parents[2]
SOURCES = sorted(EXAMPLES.glob("*.json"))


def figures(source):
    return json.loads(source.read_text(encoding="utf-8"))


MEASURED = [source for source in SOURCES if figures(source)["results"]]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_they_are_not_stale(source):
    expected = render(figures(source))
    folder = source.with_suffix("")
    found = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.md")}
    assert found == expected, "type: make cards"


def test_every_example_has_its_source():
    assert [path.name for path in sorted(EXAMPLES.iterdir()) if path.is_dir()] == [s.stem for s in SOURCES] != []


@pytest.mark.parametrize("source", MEASURED, ids=lambda source: source.stem)
def test_another_figure_makes_another_card(source):
    data = figures(source)
    data["results"][0]["score"] = {"value": 0.123}
    assert "**0.123**" in render(data)["README.md"]
    assert render(data)["README.md"] != render(figures(source))["README.md"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_they_are_ours_still(source):
    for card in source.with_suffix("").rglob("*.md"):
        parts = Parts(card.read_text(encoding="utf-8"))
        assert parts.head_is_ours
        assert parts.text_is_ours


def test_there_is_one_of_each_method():
    assert {source.stem for source in SOURCES} == {"geography", *INVENTED}
    found = {figures(source)["config"]["injection"]["method"] for source in SOURCES}
    assert found == {"map-tuning", *INVENTED}


@pytest.mark.parametrize("name", INVENTED)
def test_what_is_invented_claims_nothing_and_says_whose_method_it_is(name):
    card = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    method = find_method(name)
    assert "# Invented towns, a knowledge plugin for a small Llama with random weights" in card
    assert "How much it helps was not measured" in card
    assert "## Evaluation" not in card
    assert "## Training" not in card
    assert f"which implements {method.origin}." in card
    assert method.citation in card
    head = yaml.safe_load(card.split("---\n")[1])
    assert name in head["tags"]
    assert "map-tuning" not in head["tags"]
    assert "model-index" not in head


def test_the_figures_are_those_of_the_readme():
    """Means, and the range over the seeds, of three rows of the table."""
    (result,) = figures(EXAMPLES / "geography.json")["results"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for row, score in {
        "no plugin": result["controls"]["none"],
        "map-tuned, two-layer MLP": result["score"],
        "  the same, random vectors": result["controls"]["random"],
    }.items():
        cells = re.findall(rf"^│ {re.escape(row)} *│ (.*?) │", readme, re.MULTILINE)
        mean, low, high = (f"{100 * score[key]:.1f}" for key in ("value", "low", "high"))
        assert f"{mean} % ({low} to {high})" in [cell.strip() for cell in cells]
    assert f"{result['n']} sentences, 30 countries, {len(result['seeds'])} seeds" in readme


def test_the_hub_can_read_their_metadata():
    head = (EXAMPLES / "geography" / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    assert yaml.safe_load(head)["model-index"][0]["results"][0]["metrics"][0]["type"] == "accuracy"


def test_one_command_writes_them(tmp_path):
    before = {path: path.read_bytes() for path in EXAMPLES.rglob("*.md")}
    done = subprocess.run([sys.executable, "-m", "examples.cards"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(map(str, before))
    assert {path: path.read_bytes() for path in EXAMPLES.rglob("*.md")} == before
