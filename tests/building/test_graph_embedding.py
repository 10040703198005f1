from __future__ import annotations

import sys

import pytest
import torch

from knowledge_plugin.building import embed_graph
from knowledge_plugin.errors import KnowledgeBaseError, MissingDependencyError

# Two groups of nodes, each a ring around a hub of its own.
TRIPLES = [(f"{hub}{i}", relation, f"{hub}{(i + 1) % 12}") for hub in "ab" for i in range(12) for relation in ("next",)]
TRIPLES += [(f"{hub}{i}", "in", hub) for hub in "ab" for i in range(12)]


def embed(**kwargs) -> tuple[list[str], torch.Tensor]:
    return embed_graph(TRIPLES, **{"dim": 8, "epochs": 3, "batch_size": 16, "progress": False} | kwargs)


def test_every_node_has_a_finite_float32_vector():
    names, vectors = embed()
    assert sorted(names) == sorted({node for head, _, tail in TRIPLES for node in (head, tail)})
    assert vectors.shape == (len(names), 8)
    assert vectors.dtype == torch.float32
    assert vectors.isfinite().all()


def test_same_seed_same_vectors_other_seed_others():
    assert torch.equal(embed(seed=1)[1], embed(seed=1)[1])
    assert not torch.equal(embed(seed=1)[1], embed(seed=2)[1])


def test_nodes_of_one_group_end_up_closer_than_those_of_another():
    names, vectors = embed(epochs=60, learning_rate=0.05)
    of_a = torch.tensor([name.startswith("a") for name in names])
    distances = torch.cdist(vectors, vectors)
    within = torch.stack([distances[of_a][:, of_a].mean(), distances[~of_a][:, ~of_a].mean()]).mean()
    assert within < distances[of_a][:, ~of_a].mean()


def test_complex_models_lay_real_and_imaginary_parts_side_by_side():
    names, vectors = embed(model="RotatE")
    assert vectors.shape == (len(names), 8)
    assert vectors.dtype == torch.float32


def test_no_triples_and_no_triples_at_all_are_refused():
    with pytest.raises(KnowledgeBaseError, match="at least one triple"):
        embed_graph([])
    with pytest.raises(KnowledgeBaseError, match="triples"):
        embed_graph([("a", "b")])  # type: ignore[list-item]


def test_without_pykeen_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pykeen.models", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'knowledge-plugin\[kge\]'"):
        embed()
