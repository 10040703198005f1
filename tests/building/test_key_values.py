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


TOWNS = [Entity("x:1", "Graz", description="town"), Entity("x:2", "Oslo!", description="a city")]


def test_entities_may_come_one_by_one():
    vectors, key_dim = key_value_vectors((town for town in TOWNS), _lengths)
    assert (vectors.tolist(), key_dim) == ([[4, 1, 4, 1], [5, 1, 6, 1]], 2)


def test_vectors_may_be_a_list_of_tensors_and_keep_no_gradient():
    vectors, _ = key_value_vectors(TOWNS, lambda texts: [torch.ones(2, requires_grad=True) for _ in texts])
    assert vectors.tolist() == [[1] * 4] * 2
    assert not vectors.requires_grad
    vectors, _ = key_value_vectors(TOWNS, lambda texts: torch.ones(len(texts), 2, requires_grad=True))
    assert not vectors.requires_grad


@pytest.mark.parametrize(
    ("encode", "found"),
    [
        (lambda texts: _lengths(texts[:1]), r"found \[1, 2\]"),
        (lambda texts: _lengths(texts)[:, 0], r"found \[2\]"),
        (lambda texts: torch.ones(2, 0), r"found \[2, 0\]"),
        (lambda texts: [torch.ones(i + 1) for i in range(len(texts))], "found list"),
        (lambda texts: [[1.0], [1.0, 2.0]], "found list"),
        (lambda texts: None, "found NoneType"),
        (lambda texts: texts, "found list"),
    ],
)
def test_what_is_no_vector_for_each_text_is_refused(encode, found):
    with pytest.raises(KnowledgeBaseError, match=rf"^encode: expected vectors \[2, dim\].*{found}"):
        key_value_vectors(TOWNS, encode)
    with pytest.raises(KnowledgeBaseError, match=r"^encode_values: expected vectors"):
        key_value_vectors(TOWNS, _lengths, encode)
