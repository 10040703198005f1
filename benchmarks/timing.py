"""Timing two ways of one work fairly on a machine that others use too."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable


def alternate(ways: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Run each way once to warm up, then all of them in each round; return seconds per round.

    Whatever else slows the machine slows all of them alike, so ratios of medians hold where times do not. The order is
    another in each round: the same work was 1 % slower in one place of a fixed order than in another.
    """
    rng = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in rng.sample(list(ways.items()), len(ways)):
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def median(seconds: list[float]) -> float:
    """Return the median."""
    return statistics.median(seconds)
