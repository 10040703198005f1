from __future__ import annotations

import numpy as np
import pytest
import torch

from knowledge_plugin import Entity
from knowledge_plugin.building.key_values import key_value_vectors
from knowledge_plugin.errors import KnowledgeBaseError


def _lengths(texts):
    return np.array([[len(text), 1] for text in texts])


def test_labels_are_keys_and_descriptions_are_values():
    vectors, key_dim = key_value_vectors(
        [Entity("x:1", "Graz", description="town"), Entity("x:2", "Oslo!", description="a city")],
        _lengths,
        lambda texts: torch.tensor([[float(text.count("t"))] for text in texts]),
    )
    assert key_dim == 2
    assert vectors.tolist() == [[4, 1, 1], [5, 1, 1]]
    assert vectors.dtype == torch.float32


@pytest.mark.parametrize("entities", [[], [Entity("x:1", "Graz")], [Entity("x:1", "Graz", description=" ")]])
def test_an_entry_that_says_nothing_is_refused(entities):
    with pytest.raises(KnowledgeBaseError, match="description"):
        key_value_vectors(entities, _lengths)
