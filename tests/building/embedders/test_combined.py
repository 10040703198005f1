from __future__ import annotations

import numpy as np
import pytest

from knowledge_plugin import Entity
from knowledge_plugin.building.embedders import CombinedEmbedder, Embedding
from knowledge_plugin.errors import KnowledgeBaseError
from tests.building.embedders.common import source_of

MANY = [Entity(f"x:{i}", f"n{i}") for i in range(50)]


def random_part(dim, scale=1.0, first=0, seed=0):
    def embed(source):
        ids = source.entities["id"].to_pylist()[first:]
        assert source.folder.is_dir()
        vectors = scale * np.random.default_rng(seed).standard_normal((len(ids), dim)) + 3
        return Embedding(ids, vectors.astype(np.float32), {"quality": 0.5})

    return embed


def test_the_result_is_white(tmp_path):
    found = CombinedEmbedder([random_part(3, 100.0), random_part(4, 0.01, seed=1)])(source_of(tmp_path, MANY))
    assert found.vectors.shape == (50, 7)
    assert np.allclose(np.cov(found.vectors.T), np.eye(7), atol=1e-4)
    assert found.measures["1: quality"] == 0.5
    assert found.measures["variance kept"] == pytest.approx(1)


def test_no_part_drowns_the_others(tmp_path):
    found = CombinedEmbedder([random_part(1, 1000.0), random_part(1, 0.001, seed=1)], dim=1)(source_of(tmp_path, MANY))
    assert 0.4 < found.measures["variance kept"] < 0.75


def test_entities_that_one_part_lacks_are_left_out(tmp_path):
    found = CombinedEmbedder([random_part(2), random_part(2, first=10)])(source_of(tmp_path, MANY))
    assert found.ids == [e.id for e in MANY[10:]]


def test_what_cannot_be_combined(tmp_path):
    with pytest.raises(KnowledgeBaseError, match="dim: expected at most 4"):
        CombinedEmbedder([random_part(2), random_part(2)], dim=5)(source_of(tmp_path, MANY))
    nothing = random_part(2, first=50)
    with pytest.raises(KnowledgeBaseError, match="no entity has a vector of every embedder"):
        CombinedEmbedder([random_part(2), nothing])(source_of(tmp_path, MANY))
