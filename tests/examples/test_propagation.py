"""The example, small: everything runs, and what must hold with any figures does."""

from __future__ import annotations

import json

import pytest

from examples.propagation.__main__ import main
from examples.propagation.checkpoint import Size, make_tokenizer
from examples.propagation.experiment import Settings
from examples.propagation.files import write_ecbd, write_inferences
from examples.propagation.world import ASPECTS, KINDS, SAID, make_people, questions, words
from knowledge_plugin.evaluation.propagation import read_probes

SMALL = Settings(
    people=10, asked=5, popular=2, size=Size(layers=1, width=32, steps=2, batch_size=2), epochs=0.5, edits=1,
    resamples=20,
)  # fmt: skip


def test_it_runs_and_prints_its_tables(tmp_path, capsys):
    main(["--seed", "0", "--json", str(tmp_path / "figures.json")], SMALL)
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())["0"]
    assert len(figures) == 4
    for name, report in figures.items():
        assert name in printed
        # Nobody who is asked about was in the knowledge base that the mapping was tuned with.
        assert (report["coverage"]["known"], report["coverage"]["added"]) == (0, 5)
        assert report["coverage"]["linked"] == report["coverage"]["rows"]
        plugged = {each["condition"]: each for each in report["specificity"]}["plugin"]
        assert (plugged["difference"], plugged["touched"]) == (0, 0)


def test_the_world_is_read_as_it_was_written(tmp_path):
    people, popular = make_people(8, 3), make_people(3, 3, foreign=True, prefix="popular")
    write_inferences(people, tmp_path)
    write_ecbd(people, popular, tmp_path, 3)
    choice, ecbd = read_probes(tmp_path, "entity-inferences"), read_probes(tmp_path, "ecbd")
    assert len(choice.probes) == 8 * len(KINDS) * len(ASPECTS)
    by_name = {person.name: person for person in people}
    for probe in choice.probes:
        _, kind, aspect = probe.file.split("_")
        assert probe.gold == by_name[probe.entity].answer(kind, aspect)
        assert probe.definition == by_name[probe.entity].definition
        assert probe.easy is (kind == "explicit")
        assert next(probe.name_places())[0] < len(probe.before)
    assert len(ecbd.probes) == 2 * 8 * len(KINDS) * len(ASPECTS)
    assert len({probe.entity_id for probe in ecbd.probes}) == 8
    assert {probe.entity for probe in ecbd.popular} == {person.name for person in popular}


def test_the_same_seed_makes_the_same_people_and_names_tell_nothing():
    people = make_people(300, 1)
    assert people == make_people(300, 1)
    assert len({person.name for person in people}) == 300
    known = set(words())
    assert not any(word.lower() in known for person in people for word in person.name.split())
    # No one's name is a stranger's.
    strangers = {word for person in make_people(300, 2, foreign=True) for word in person.name.split()}
    assert not strangers & {word for person in people for word in person.name.split()}


@pytest.mark.parametrize("aspect", ASPECTS)
def test_what_follows_is_another_word_for_each(aspect):
    follows = list(SAID[aspect].values())
    assert len(set(follows)) == len(follows)
    assert not set(follows) & set(SAID[aspect])


def test_answers_are_single_tokens_and_names_are_several():
    tokenizer = make_tokenizer()
    for question in questions(make_people(5, 0)):
        assert len(tokenizer(question.answer)["input_ids"]) == 1
        assert len(tokenizer(question.person.name)["input_ids"]) == 4
        assert tokenizer.unk_token_id not in tokenizer(question.sentence)["input_ids"]
