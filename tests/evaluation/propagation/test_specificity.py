"""Sentences about others: what a plugin links there, and what becomes of them."""

from __future__ import annotations

import numpy as np

from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase
from knowledge_plugin.evaluation.propagation import ProbeSet
from knowledge_plugin.evaluation.propagation.conditions import ask
from knowledge_plugin.evaluation.propagation.entities import resolve
from knowledge_plugin.evaluation.propagation.figures import Drawing
from knowledge_plugin.evaluation.propagation.specificity import Bystanders
from tests.evaluation.propagation import counting


def make(probes, kb=None, **options):
    tokenizer = counting.make_tokenizer()
    plugin = counting.plugin_for(counting.make_model("causal", tokenizer), tokenizer, kb or counting.knowledge())
    resolved = resolve(plugin, probes.probes)
    options = {"edits": 2, "seed": 0, "in_text": True} | options
    return Bystanders(probes, resolved, DictionaryLinker(plugin.knowledge_base), **options)


def test_a_row_s_own_entity_is_not_linked_and_others_are():
    probes = counting.inferences()
    assert not any(make(probes).mentions)
    named = ProbeSet(
        "entity-inferences",
        tuple(
            counting.EntityProbe(
                p.id, p.entity_id, p.entity, p.definition, p.before, f" of {counting.NAMES[0]} .", p.gold, p.options
            )
            for p in probes.probes
        ),
    )
    found = make(named).mentions
    assert found[0] == ()  # its own name, twice
    for probe, mentions in zip(named.probes[1:], found[1:], strict=True):
        (mention,) = mentions
        assert (probe.before + probe.after)[mention.start : mention.end] == counting.NAMES[0]


def test_popular_entities_may_be_linked():
    kb = KnowledgeBase.from_entities([Entity("x:k", "king"), Entity("x:0", counting.NAMES[0])], np.eye(4)[:2], name="k")
    bystanders = make(counting.spans(), kb)
    assert [len(mentions) for mentions in bystanders.mentions] == [1, 0]
    assert not any(make(counting.spans(), kb, in_text=False).mentions)


def test_changes_are_means_over_what_was_tried():
    bystanders = make(counting.spans())
    worth = {"none": 1.0, "prepend": 2.0, "plugin": 1.0}

    def measured(condition):
        def count(probes, contexts, mentions):
            assert (contexts is not None) == (condition == "prepend")
            n = len(ask(probes).filled)
            assert n == len(counting.POPULAR) * (2 if condition == "prepend" else 1)
            return {"perplexity": np.stack([np.full(n, worth[condition]), np.ones(n)], 1)}

        return count

    for condition in worth:
        bystanders.measure(condition, measured(condition))
    told, plugged = bystanders.compare(Drawing(50))
    assert (told.condition, told.edits, told.touched, told.rows) == ("prepend", 2.0, None, 2)
    assert np.isclose(told.difference, np.e**2 - np.e)
    assert (plugged.difference, plugged.touched) == (0, 0)


def test_what_was_tried_on_a_sentence_counts_for_that_sentence():
    bystanders = make(counting.spans())
    worth = dict(zip((each.id for each in bystanders.sentences), (1.0, 3.0), strict=True))

    def count(probes, contexts, mentions):
        numbers = np.array([worth[each.id] if contexts else 0.0 for each in probes])
        return {"perplexity": np.stack([numbers, np.ones(len(numbers))], 1)}

    for condition in ("none", "prepend"):
        bystanders.measure(condition, count)
    (told,) = bystanders.compare(Drawing(50))
    assert np.isclose(told.after, np.e**2)


def test_without_sentences_there_is_nothing_to_ask():
    assert not make(ProbeSet("ecbd", counting.spans().probes))
    assert make(counting.spans())
