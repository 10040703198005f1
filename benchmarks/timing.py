"""Timing two ways of one work fairly on a machine that others use too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def alternate(ways: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Run each way once to warm up, then all of them in turn; return seconds per round.

    Whatever else slows the machine slows all of them alike, so ratios of medians hold where times do not.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def median(seconds: list[float]) -> float:
    """Return the median."""
    return statistics.median(seconds)
