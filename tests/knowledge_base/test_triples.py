from __future__ import annotations

import pytest

from knowledge_plugin.building import compose_vectors
from knowledge_plugin.errors import KnowledgeBaseError, LinkingError, TrainingError
from knowledge_plugin.knowledge_base.triples import checked_triples
from knowledge_plugin.linking import count_neighbours
from knowledge_plugin.objectives.relation_decoding import RelationDecoding
from tests import tiny

NO_TRIPLES = [("x:1", "in"), "x:1", "abc", ("x:1", "in", 3), (3, "in", "x:1"), None, 3, ("a", "b", "c", "d")]


@pytest.mark.parametrize("triple", NO_TRIPLES)
def test_what_is_no_triple_is_said_wherever_triples_are_read(triple, kb, wordpiece):
    found = r"expected triples of three texts, found"
    with pytest.raises(KnowledgeBaseError, match=found):
        compose_vectors(kb, [triple])
    with pytest.raises(LinkingError, match=found):
        count_neighbours([triple])
    with pytest.raises(TrainingError, match=found):
        RelationDecoding(tiny.classifier(labels=2), wordpiece, kb, [triple])


def test_triples_come_as_tuples_one_by_one():
    triples = checked_triples(iter([("x:1", "in", "x:2"), ["x:1", "in"]]), KnowledgeBaseError)
    assert next(triples) == ("x:1", "in", "x:2")
    with pytest.raises(KnowledgeBaseError):
        next(triples)
