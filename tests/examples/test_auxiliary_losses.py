"""The example, small; and what its distances must be, against an exact solver."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from examples.auxiliary_losses import __main__ as example
from examples.auxiliary_losses.experiment import ARMS
from examples.auxiliary_losses.regularisation import DynamicLabelSmoothing, earth_movers_distance, transport_plan


def exact(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the distance as a linear program finds it."""
    n, m = len(first), len(second)
    cost = torch.cdist(first, second).square().double().numpy()
    sums = np.zeros((n + m, n * m))
    for i in range(n):
        sums[i, i * m : (i + 1) * m] = 1
    for j in range(m):
        sums[n + j, j::m] = 1
    wanted = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    return float(linprog(cost.ravel(), A_eq=sums, b_eq=wanted, method="highs").fun)


def distance(first: torch.Tensor, second: torch.Tensor, **options) -> float:
    masks = torch.ones(1, len(first)), torch.ones(1, len(second))
    return float(earth_movers_distance(first[None], second[None], *masks, **options))


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 8), m=st.integers(1, 8), seed=st.integers(0, 10_000))
def test_the_distance_is_that_of_an_exact_solver(n, m, seed):
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(n, 4, generator=generator), torch.randn(m, 4, generator=generator)
    found, expected = distance(first, second, sharpness=200.0, steps=1000), exact(first, second)
    assert found == pytest.approx(expected, rel=0.02)
    assert distance(second, first, sharpness=200.0, steps=1000) == pytest.approx(found, rel=0.02)


def test_equal_sets_in_any_order_have_no_distance():
    first = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert distance(first, first[torch.randperm(6)], sharpness=200.0) == pytest.approx(0, abs=1e-3)


def test_padding_has_no_mass():
    first = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    padded = torch.cat([first, torch.full((1, 2, 4), 9.0)], 1)
    masks = torch.tensor([[1.0, 1, 1]]), torch.tensor([[1.0, 1, 1, 0, 0]])
    assert float(earth_movers_distance(first, padded, *masks, sharpness=200.0)) == pytest.approx(0, abs=1e-3)


def test_a_plan_moves_what_is_there_to_what_is_wanted():
    cost = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    rows, columns = torch.tensor([[0.5, 0.3, 0.2]]).expand(2, -1), torch.full((2, 4), 0.25)
    plan = transport_plan(cost, rows, columns)
    torch.testing.assert_close(plan.sum(2), rows, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(plan.sum(1), columns, atol=1e-3, rtol=1e-3)


def test_labels_begin_as_they_are_and_are_smoothed_more_and_more():
    side = DynamicLabelSmoothing(vocab_size=5, most=0.5, steps=2)
    logits = torch.tensor([[[0.0, 1.0, 2.0, 0.0, 0.0], [0.0] * 5]])
    added = []
    for _ in range(3):
        with side.step(None, None, {"labels": torch.tensor([[-100, 2]])}) as more:
            added.append(float(more({"logits": logits})))
    assert added[0] == 0
    assert 0 < added[1] < added[2]


def test_it_runs_prints_a_table_and_goes_on(tmp_path, capsys):
    arms = [name for name in ARMS if "facts of others" not in name]
    kept = tmp_path / "figures.json"
    options = ["--quick", "--seeds", "0", "--json", str(kept), "--arms"]
    example.main([*options, *arms[:1]])
    first = json.loads(kept.read_text())
    example.main([*options, *arms])
    found = json.loads(kept.read_text())
    assert found["0"][arms[0]] == first["0"][arms[0]]  # not run again
    assert list(found["0"]) == arms
    assert f"more than *{arms[0]}*" in capsys.readouterr().out
