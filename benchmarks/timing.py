"""Timing two ways of one work fairly on a machine that others use too."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

# Work of a millisecond is repeated for so long in each round: alone it would measure what ran before it in the caches.
_SECONDS = 0.05


def alternate(ways: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Run each way once to warm up, then all of them in each round; return seconds a call, by round.

    Whatever else slows the machine slows all of them alike, so ratios of medians hold where times do not. The order is
    another in each round: the same work was 1 % slower in one place of a fixed order than in another.
    """
    rng = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in rng.sample(list(ways.items()), len(ways)):
            seconds[name].append(_seconds_a_call(way))
    return seconds


def _seconds_a_call(way: Callable[[], object]) -> float:
    calls, began = 0, time.perf_counter()
    while True:
        way()
        calls += 1
        if (passed := time.perf_counter() - began) >= _SECONDS:
            return passed / calls


def median(seconds: list[float]) -> float:
    """Return the median."""
    return statistics.median(seconds)


def ratios(ours: list[float], published: list[float]) -> list[float]:
    """Return the ratio of each round: of neighbours in time, so that what slows the machine for a while cancels."""
    return [a / b for a, b in zip(ours, published, strict=True)]
