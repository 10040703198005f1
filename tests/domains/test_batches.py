"""Which rows come when."""

from __future__ import annotations

import torch
from torch import nn

from knowledge_plugin.domains import FollowSettings
from knowledge_plugin.domains.batches import Batches


def batches(rows: int, batch_size: int, steps: int) -> list[list[int]]:
    settings = FollowSettings(steps=steps, batch_size=batch_size)
    trained = [nn.Parameter(torch.zeros(1))]
    return [each.tolist() for each in Batches(rows, settings, trained, torch.Generator().manual_seed(0))]


def test_each_row_comes_once_before_any_comes_again():
    found = batches(rows=9, batch_size=3, steps=6)
    for epoch in (found[:3], found[3:]):
        assert sorted(row for batch in epoch for row in batch) == list(range(9))


def test_fewer_rows_than_a_batch_come_all_at_once():
    assert [sorted(batch) for batch in batches(rows=2, batch_size=8, steps=3)] == [[0, 1]] * 3


def test_outside_of_the_loop_everything_is_frozen():
    weight = nn.Parameter(torch.ones(1), requires_grad=False)
    loop = Batches(4, FollowSettings(steps=1, learning_rate=0.1), [weight], torch.Generator())
    for _ in loop:
        loop.step(weight.square().sum())
    assert weight.item() < 1
    assert not weight.requires_grad
