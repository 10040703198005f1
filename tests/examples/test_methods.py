"""The example of every method runs, on a world that is what it says."""

from __future__ import annotations

import json

import pytest

from examples.methods import refusal
from examples.methods.__main__ import main
from examples.methods.experiment import CASES
from examples.methods.reader import make_tokenizer
from examples.methods.world import PROPERTIES, SYLLABLES, VALUES, description, make_world, question, questions, split


def test_every_method_is_measured_beside_its_controls(tmp_path, capsys):
    main(["--quick", "--json", str(tmp_path / "found.json")])
    lines = json.loads((tmp_path / "found.json").read_text())
    assert [line["name"] for line in lines] == list(CASES)
    for line in lines:
        for accuracy in line["accuracy"].values():
            assert set(accuracy) == {"none", "plugin", "shuffled", "random", "text"}
        # What a frozen reader says by itself has nothing to do with what is attached to it.
        assert line["accuracy"]["held out"]["none"] == lines[0]["accuracy"]["held out"]["none"]
        assert line["questions"] == 8 * len(PROPERTIES)
        looks_up = line["name"] in ("memory", "kformer", "kb-attention")
        assert (line["found first"] is not None) is looks_up
    assert capsys.readouterr().out.count("seed 0") == len(CASES)


def test_refusals_are_counted_with_the_entry_and_without(capsys):
    refusal.main(["--quick"])
    said = capsys.readouterr().out
    assert "32 questions" in said
    assert "precision" in said
    assert "told apart" in said


def test_of_what_is_refused_the_share_that_ought_to_be():
    found = refusal.Refusals(with_entry=0.1, without_entry=0.3, base=0.0, right=0.5, apart=0.5, n=10)
    assert found.precision == pytest.approx(0.75)


def test_people_share_no_words_and_worlds_do_not_meet():
    world, foreign = make_world(200, 0), make_world(200, 1, foreign=True)
    words = [word for person in world for word in person.name.split()]
    assert len(set(words)) == len(words) == 400
    assert not set(words) & {word for person in foreign for word in person.name.split()}
    assert [person.name for person in make_world(200, 0)] == [person.name for person in world]


def test_a_world_cannot_have_more_people_than_names():
    with pytest.raises(ValueError, match="at most"):
        make_world(2000, 0)


def test_people_are_split_and_asked_about():
    seen, unseen = split(make_world(20, 0), 5, 0)
    assert (len(seen), len(unseen)) == (15, 5)
    assert not {person.entity_id for person in seen} & {person.entity_id for person in unseen}
    person = unseen[0]
    for row in questions(unseen):
        (start, end, entity_id), *_ = row["mentions"]
        (owner,) = [each for each in unseen if each.entity_id == entity_id]
        assert row["text"][start:end] == owner.name
        assert row["label"] in owner.facts.values()
    asked = question(person, "home")
    assert f"{asked['text']} {asked['label']}." in description(person)


def test_answers_are_single_tokens_and_names_are_several():
    tokenizer = make_tokenizer()
    assert all(len(tokenizer(value)["input_ids"]) == 1 for values in VALUES.values() for value in values)
    name = f"{SYLLABLES[0]}{SYLLABLES[9]}".capitalize()
    assert len(tokenizer(name)["input_ids"]) == 2
    assert tokenizer.unk_token_id not in tokenizer("Zorva Melin, 12!")["input_ids"]
