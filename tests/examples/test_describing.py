"""The example, small: everything runs, and what must hold with any figures does."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("peft")

from examples.describing import __main__ as example
from examples.describing.bench import RELATIONS, Settings
from examples.describing.world import ASKED, KEPT, about, knowledge_base, make_world, reading, strangers, told

SMALL = Settings(
    read=6, tuned=8, held_out=6, countries=2, towns=2, per_town=4, width=16, epochs=1, dim=8, probe_steps=2,
    plugin_steps=2, lora_steps=2, resamples=20,
)  # fmt: skip


@pytest.fixture
def world():
    return make_world(read=10, tuned=12, held_out=8, countries=3, towns=2, seed=1)


def test_it_runs_and_prints_its_tables(tmp_path, capsys):
    example.main(["--seed", "0", "--json", str(tmp_path / "figures.json")], SMALL)
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())["0"]
    assert "| a frozen head, with a plugin that learned by |" in printed
    # One checkpoint, which neither plugins nor adapters change.
    assert len({repr(figures["plugins"][name]["none"]) for name in figures["plugins"]}) == 1
    assert figures["baked"]["no LoRA"]["held out"]["value"] == figures["plugins"]["task"]["none"]["value"]
    assert all(set(each) == set(RELATIONS) for each in figures["knows"].values())


def test_the_same_seed_makes_the_same_world(world):
    again = make_world(read=10, tuned=12, held_out=8, countries=3, towns=2, seed=1)
    assert again == world
    assert reading(again, 3, 0) == reading(world, 3, 0)
    assert len({person.name for person in (*world.people, *strangers(world, 5, 0))}) >= 30


def test_what_is_asked_tells_nothing_but_names(world):
    for row in about(world.held_out, KEPT, 2, 0):
        person = next(p for p in world.held_out if p.entity_id == row["mentions"][0][2])
        start, end, _ = row["mentions"][0]
        assert row["text"][start:end] == person.name
        assert not any(word in row["text"] for word in (person.country, person.town, person.trade))
        assert row["label"] == list(world.countries).index(person.country)
        assert person.town in world.countries[person.country]


def test_the_checkpoint_reads_of_some_people_and_of_no_others_and_in_no_kept_sentence(world):
    texts = [row["text"] for row in reading(world, 3, 0)]
    assert all(any(person.name in text for text in texts) for person in world.read)
    assert not any(person.name in text for person in (*world.tuned, *world.held_out) for text in texts)
    kept = [sentence.replace("{who}", "") for sentence in ASKED[-2:]]
    assert not any(person.name in text and part in text for person in world.read for text in texts for part in kept)


def test_the_knowledge_base_says_it_in_words(world):
    kb = knowledge_base(world, 8, 0.5, 0)
    assert [entity.description for entity in kb] == [told(person) for person in world.people]
