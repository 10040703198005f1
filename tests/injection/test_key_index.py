from __future__ import annotations

import pytest
import torch

from knowledge_plugin.injection import key_index
from knowledge_plugin.injection.key_index import KeyIndex


def _keys(n):
    return torch.nn.functional.normalize(torch.randn(n, 8, generator=torch.Generator().manual_seed(0)), dim=-1)


def test_the_best_come_first():
    keys, queries = _keys(300), _keys(5)
    expected = (queries @ keys.T).topk(4, dim=-1).indices
    assert torch.equal(KeyIndex(keys).search(queries, 4), expected)


def test_no_more_than_there_are():
    assert KeyIndex(_keys(3)).search(_keys(2), 10).shape == (2, 3)


def test_a_large_one_is_searched_in_part(monkeypatch):
    monkeypatch.setattr(key_index, "_FLAT", 1_000)
    keys = _keys(5_000)
    index = KeyIndex(keys)
    assert len(index) == 5_000
    found = index.search(keys[:200], 1)[:, 0]
    assert int((found == torch.arange(200)).sum()) == 200  # a key is in the cell that is nearest to it


def test_without_faiss_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ImportError, match=r"knowledge-plugin\[memory\]"):
        KeyIndex(_keys(3))
