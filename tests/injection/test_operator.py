from __future__ import annotations

import gc

import pytest
import torch

from knowledge_plugin.injection.operator import register, virtual_rows


class Ones:
    def dense_rows(self, ids: torch.Tensor) -> torch.Tensor:
        return (ids >= 5).float().unsqueeze(-1).expand(*ids.shape, 3).clone()


def test_it_asks_the_source_of_that_number():
    source = Ones()
    ids = torch.tensor([[1, 5], [7, 2]])
    assert virtual_rows(ids, register(source), 3).sum(-1).tolist() == [[0.0, 3.0], [3.0, 0.0]]


def test_it_is_a_lawful_operator():
    source = Ones()
    torch.library.opcheck(virtual_rows, (torch.tensor([[1, 5]]), register(source), 3))


def test_a_source_that_is_gone_is_not_kept_alive():
    number = register(Ones())
    gc.collect()
    with pytest.raises(KeyError):
        virtual_rows(torch.tensor([[1]]), number, 3)
