from __future__ import annotations

import torch

from knowledge_plugin.injection.lookup import Lookup


def test_a_text_asks_once_and_padding_asks_nothing():
    lookup = Lookup(6, 4, 3, causal=False)
    hidden = torch.randn(2, 5, 6)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()
    queries = lookup.queries(hidden, mask)
    assert queries.shape == (2, 1, 3)
    alone = lookup.queries(hidden[1:, :2], None)
    torch.testing.assert_close(queries[1:], alone)


def test_in_a_decoder_each_token_asks_for_itself():
    lookup = Lookup(6, 4, 3, causal=True)
    hidden = torch.randn(2, 5, 6)
    queries = lookup.queries(hidden, None)
    torch.testing.assert_close(queries[:, 2:3], lookup.queries(hidden[:, 2:3], None))


def test_queries_and_keys_are_of_unit_length():
    lookup = Lookup(6, 4, 3, causal=False)
    for unit in (lookup.queries(torch.randn(2, 5, 6), None), lookup.keys(torch.randn(7, 4))):
        torch.testing.assert_close(unit.norm(dim=-1), torch.ones(unit.shape[:-1]))
