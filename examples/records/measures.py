"""Shares and areas under curves, with intervals over people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Figure:
    """A value with its interval of 95 % over people."""

    value: float
    low: float | None
    high: float | None
    n: int


def share(right: Sequence[bool], people: Sequence[str], seed: int, resamples: int) -> Figure:
    """Return the share of what is right."""
    return _figure(
        np.asarray(right, float), np.zeros(len(right)), people, seed, resamples, lambda x, _: float(x.mean())
    )


def auc(right: Sequence[bool], scores: Sequence[float], people: Sequence[str], seed: int, resamples: int) -> Figure:
    """Return how often what is right has a higher score than what is wrong: the area under the ROC curve.

    Example:
        >>> auc([True, False, False], [0.9, 0.1, 0.9], ["a", "b", "c"], 0, 10).value
        0.75
    """
    return _figure(np.asarray(right, float), np.asarray(scores, float), people, seed, resamples, _area)


def _area(right: np.ndarray, scores: np.ndarray) -> float:
    high, low = scores[right > 0], scores[right == 0]
    if not len(high) or not len(low):
        return float("nan")
    difference = high[:, None] - low[None, :]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def _figure(
    right: np.ndarray, scores: np.ndarray, people: Sequence[str], seed: int, resamples: int,
    measure: Callable[[np.ndarray, np.ndarray], float],
) -> Figure:  # fmt: skip
    rows: dict[str, list[int]] = {}
    for i, person in enumerate(people):
        rows.setdefault(person, []).append(i)
    groups = [np.array(own) for own in rows.values()]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        drawn = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        values.append(measure(right[drawn], scores[drawn]))
    whole = np.array(values)[np.isfinite(values)]
    low, high = (float(np.quantile(whole, q)) for q in (0.025, 0.975)) if len(whole) else (None, None)
    return Figure(measure(right, scores), low, high, len(right))
