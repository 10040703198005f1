"""Entities are found by name, and added from definitions to a copy."""

from __future__ import annotations

import numpy as np
import pytest

from knowledge_plugin.building.embedders import Embedding
from knowledge_plugin.errors import EvaluationError, KnowledgeBaseError
from knowledge_plugin.evaluation.propagation import EntityProbe
from knowledge_plugin.evaluation.propagation.entities import resolve
from tests.evaluation.propagation import counting


@pytest.fixture
def plugin():
    tokenizer = counting.make_tokenizer()
    return counting.plugin_for(counting.make_model("causal", tokenizer), tokenizer, counting.knowledge(4))


def by_genre(source):
    """An embedder that reads the genre of a definition."""
    texts = source.entities["description"].to_pylist()
    words = [{**counting.FOLLOWS, **{o: o for o in counting.OPTIONS}} for _ in texts]
    vectors = [
        counting.one_hot(counting.OPTIONS.index(next(w[x] for x in text.split() if x in w)))
        for w, text in zip(words, texts, strict=True)
    ]
    return Embedding(source.entities["id"].to_pylist(), np.stack(vectors))


def test_who_is_there_is_found_by_name_and_the_others_are_counted(plugin):
    found = resolve(plugin, counting.spans().probes)
    assert found.plugin is plugin
    assert found.ids[0] == "x:0"
    assert found.ids[-1] is None
    assert not found.mentions[-1]
    coverage = found.coverage
    assert (coverage.rows, coverage.linked, coverage.entities, coverage.known, coverage.added) == (24, 8, 12, 4, 0)
    assert len(coverage.missing) == 8
    assert "8 have no vector" in str(coverage)


def test_an_embedder_adds_them_to_a_copy(plugin):
    found = resolve(plugin, counting.inferences().probes, by_genre)
    assert len(plugin.knowledge_base) == 4
    kb = found.plugin.knowledge_base
    assert len(kb) == counting.N
    assert found.plugin.mapping is plugin.mapping
    assert (found.coverage.known, found.coverage.added, found.coverage.missing) == (4, 8, ())
    for i, (entity_id, mentions) in enumerate(zip(found.ids, found.mentions, strict=True)):
        assert kb[entity_id].label == counting.NAMES[i]
        assert kb.vectors(kb.rows([entity_id]))[0].tolist() == counting.one_hot(i).tolist()
        assert [m.entity_id for m in mentions] == [entity_id]


def test_one_who_is_told_of_in_two_ways_gets_two_vectors(plugin):
    probes = [
        EntityProbe(f"a_{word}", "New", "New", f"New is a {word} .", "people like New", ".", "it")
        for word in ("sad", "funny", "sad")
    ]
    found = resolve(plugin, probes, by_genre)
    assert found.ids[0] == found.ids[2] != found.ids[1]
    assert found.coverage.added == 1


def test_rows_that_name_nobody_and_rows_that_do_so_too_late(plugin):
    probes = [
        EntityProbe("a", "x", counting.NAMES[0], "", "people like it and", ".", "it"),
        EntityProbe("b", "x", counting.NAMES[0], "", "people like", f" and {counting.NAMES[0]} .", "it"),
    ]
    both = EntityProbe("c", "x", counting.NAMES[0], "", f"people like {counting.NAMES[0]}", probes[1].after, "it")
    assert resolve(plugin, [*probes, both], causal=True).coverage.behind == 1
    assert resolve(plugin, probes, causal=True).coverage.unnamed == 1
    assert resolve(plugin, probes, causal=True).coverage.behind == 1
    assert resolve(plugin, probes, causal=False).coverage.behind == 0


def test_some_may_stay_without_a_vector(plugin):
    def some(source):
        all_of_them = by_genre(source)
        return Embedding(all_of_them.ids[:3], all_of_them.vectors[:3])

    coverage = resolve(plugin, counting.inferences().probes, some).coverage
    assert (coverage.added, len(coverage.missing), coverage.linked) == (3, 5, 7)


@pytest.mark.parametrize(
    ("embedder", "error", "message"),
    [
        (lambda source: Embedding(["x:0"], np.zeros((1, 4))), EvaluationError, "expected a vector for each"),
        (lambda source: Embedding(source.entities["id"].to_pylist(), np.zeros((2, 4))), EvaluationError, "2 vectors"),
        (lambda source: Embedding(source.entities["id"].to_pylist(), np.zeros((8, 9))), KnowledgeBaseError, "width 4"),
    ],
)
def test_embedders_that_break_their_contract(plugin, embedder, error, message):
    with pytest.raises(error, match=message):
        resolve(plugin, counting.inferences().probes, embedder)
