"""The example, small: everything runs, and what must hold with any figures does."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("pykeen")

from examples.long_tail import __main__ as example
from examples.long_tail.experiment import BANDS, Settings
from examples.long_tail.world import make_world, questions, reading, triples_of

SMALL = Settings(
    asked=30, tuned=10, unread=10, countries=3, towns=2, most_read=15, width=16, epochs=1, dim=8, graph_epochs=5,
    tuning_rows=2, tuning_epochs=1, questions=2, resamples=20,
)  # fmt: skip


@pytest.fixture
def world():
    return make_world(asked=40, tuned=20, unread=10, countries=3, towns=2, most_read=20, loyal=0.8, seed=1)


def test_it_runs_and_prints_its_tables(tmp_path, capsys):
    example.main(["--seed", "0", "--json", str(tmp_path / "figures.json")], SMALL)
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())["0"]
    assert "| composed of all their triples |" in printed
    assert "the paper's rule" in printed
    assert figures["missing"] == 0
    assert sum(figures["rows"].values()) == 60
    for selections in figures["selections"].values():
        assert selections["every mention"]["share"] == 1
        assert all(0 < found["share"] <= 1 for found in selections.values())
        # Whom nothing is said of, and who stands alone, is read as if there were no plugin.
        alone = next(band for band in BANDS if band.endswith("alone"))
        assert selections["counted fewer than 5 times"]["change"][alone]["value"] == 0


def test_the_same_seed_makes_the_same_world(world):
    again = make_world(asked=40, tuned=20, unread=10, countries=3, towns=2, most_read=20, loyal=0.8, seed=1)
    assert again == world
    assert reading(again, 3, 0) == reading(world, 3, 0)
    assert len({person.name for person in world.people}) == 70


def test_what_is_asked_tells_nothing_but_names(world):
    people = [person.name for person in world.asked]
    for row in questions(world.asked, world.asked, 4, 0):
        text = row["text"]
        assert row["label"] == row["person"].country
        assert not any(town in text for town in world.towns.values())
        named = [name for name in people if name in text]
        assert len(named) == 1 + row["other"]
        assert min(named, key=text.index) == row["person"].name


def test_a_person_is_read_of_as_often_as_is_said(world):
    first = [row["text"] for row in reading(world, 0, 0)]
    assert len(first) == sum(person.read for person in world.people)
    never = [person.name for person in world.people if not person.read]
    assert never
    assert not any(name in text for name in never for text in first)


def test_the_graph_says_where_everyone_lives(world):
    triples = triples_of(world)
    home = {head: tail for head, relation, tail in triples if relation == "lives in"}
    country = {head: tail for head, relation, tail in triples if relation == "lies in"}
    assert all(country[home[p.entity_id]] == f"country:{p.country}" for p in world.people)
