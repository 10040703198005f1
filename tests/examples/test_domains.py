"""The example, small: everything runs, and what must hold with any figures does."""

from __future__ import annotations

import json

import pytest

from examples.domains import __main__ as example
from examples.domains import routing
from examples.domains.names import DOMAINS, KINDS, knowledge_base, lessons, make_things, questions
from knowledge_plugin.linking import DictionaryLinker

SMALL = routing.Settings(
    asked=4, tuned=6, lands=3, towns=2, per_town=4, width=16, epochs=1, dim=8, tuning_rows=2, tuning_epochs=1,
    resamples=20,
)  # fmt: skip


@pytest.fixture(scope="module")
def things():
    return make_things(asked=6, tuned=8, lands=3, seed=1)


def test_routing_runs_and_prints_its_tables(tmp_path, capsys):
    example.main(["routing", "--seed", "0", "1", "--json", str(tmp_path / "figures.json")], routing_settings=SMALL)
    printed = capsys.readouterr().out
    assert "| routed per mention |" in printed
    assert "Means over seeds" in printed
    for outcome in json.loads((tmp_path / "figures.json").read_text()).values():
        chosen = outcome["chosen"]["by coverage"]
        # Known beforehand: beside its kin a name is told, and a stranger beside a shared name misleads.
        assert [chosen[f"{name}, kin"]["value"] for name in ("own name", "shared name")] == [1, 1]
        assert chosen["own name, alone"]["value"] == 1
        assert chosen["shared name, alone"]["value"] == pytest.approx(1 / len(DOMAINS))
        assert chosen["shared name, strange"]["value"] == 0
        accuracy = outcome["accuracy"]
        by_hand = accuracy["the plugin of the text's domain, by hand"]
        for kind in ("own name, alone", "own name, kin", "shared name, kin"):
            assert accuracy["routed per text"][kind] == by_hand[kind]
        # Whose name no other domain has is read as if its plugin were absent.
        other = accuracy["the plugin of another domain, by hand"]
        assert other["own name, kin"] == accuracy["no plugin"]["own name, kin"]


def test_shared_names_are_shared_and_own_names_are_not(things):
    by_name: dict[str, list] = {}
    for thing in things:
        by_name.setdefault(thing.name, []).append(thing)
    assert all(len(found) == (3 if found[0].shared else 1) for found in by_name.values())
    assert {thing.land for thing in things} == {0, 1, 2}
    assert things == make_things(asked=6, tuned=8, lands=3, seed=1)


def test_every_name_in_a_question_is_linked_by_its_domain_alone(things):
    linkers = {
        domain: DictionaryLinker(kb) for domain, kb in knowledge_base(things, lands=3, dim=4, noise=0.1, seed=0).items()
    }
    for row in questions(things, 0):
        domain, (name, company) = row["thing"].domain, row["kind"].split(", ")
        linked = {each: len(linker([row["text"]])[0]) for each, linker in linkers.items()}
        others = sorted(linked[each] for each in DOMAINS if each != domain)
        expected = {
            ("own name", "alone"): (1, [0, 0]),
            ("own name", "kin"): (2, [0, 0]),
            ("own name", "strange"): (1, [0, 1]),
            ("shared name", "alone"): (1, [1, 1]),
            ("shared name", "kin"): (2, [1, 1]),
            ("shared name", "strange"): (1, [1, 2]),
        }
        assert (linked[domain], others) == expected[name, company]
    assert {row["kind"] for row in questions(things, 0)} == set(KINDS)


def test_a_mapping_is_tuned_on_nothing_that_is_asked(things):
    asked = {thing.name for thing in things if thing.asked}
    for row in lessons(things, "herbs", 0, times=3):
        assert row["thing"].domain == "herbs"
        assert not any(name in row["text"] for name in asked)
