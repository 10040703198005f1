from __future__ import annotations

import pyarrow as pa
import pytest

from knowledge_plugin import Entity
from knowledge_plugin.building.embedders import GraphEmbedder
from knowledge_plugin.errors import KnowledgeBaseError
from tests.building.embedders.common import source_of


def triples_of(rows):
    return pa.table(dict(zip(("head", "relation", "tail"), zip(*rows, strict=True), strict=True)))


# Cities in regions in countries: who shares a region shares what is to be told of it.
TREE = [(f"c:{i}", "in", f"r:{i % 6}") for i in range(60)]
TREE += [(f"r:{i}", "part of", f"k:{i % 2}") for i in range(6)]
TREE += [(f"c:{i}", "citizens of", f"k:{i % 2}") for i in range(60)]


@pytest.mark.parametrize("model", ["TransE", "RotatE", "DistMult", "ComplEx"])
def test_ranks_of_held_out_triples_are_measured(tmp_path, model):
    embedder = GraphEmbedder(model, dim=16, epochs=40, held_out=0.2)
    found = embedder(source_of(tmp_path, triples=triples_of(TREE)))
    assert found.vectors.shape == (68, 16)
    assert sorted(found.ids) == sorted({x for h, _, t in TREE for x in (h, t)})
    assert 0 <= found.measures["hits@1"] <= found.measures["hits@10"] <= 1
    assert 0 < found.measures["MRR"] <= 1
    assert found.measures["ranked triples"] == pytest.approx(0.1 * len(TREE), abs=2)
    again = embedder(source_of(tmp_path, triples=triples_of(TREE)))
    assert (again.vectors == found.vectors).all()


def test_what_can_be_told_is_ranked_higher_than_by_chance(tmp_path):
    found = GraphEmbedder("TransE", dim=16, held_out=0.2)(source_of(tmp_path, triples=triples_of(TREE)))
    assert found.measures["hits@10"] > 2 * 10 / 68


def test_few_triples_are_not_held_out(tmp_path):
    with pytest.warns(UserWarning, match="too few to hold any out"):
        found = GraphEmbedder(dim=4, epochs=2)(source_of(tmp_path, triples=triples_of(TREE[:3])))
    assert found.measures == {}


def test_no_triples(tmp_path):
    with pytest.raises(KnowledgeBaseError, match="learns from triples, and there are none"):
        GraphEmbedder()(source_of(tmp_path, [Entity("x:1", "A")]))
