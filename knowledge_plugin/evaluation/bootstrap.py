"""How sure a figure is: a bootstrap over entities, not over sentences.

Ten sentences about one entity are right or wrong together, and say little more than one. So whole entities are drawn,
with all their sentences, and two conditions are compared on the very same draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from knowledge_plugin.evaluation.metrics import Outcomes

# With fewer clusters, percentile intervals are noticeably too narrow.
FEW_CLUSTERS = 20
_CELLS = 2**22  # of drawn weights in memory at a time


class Interval(NamedTuple):
    """A value and the bounds of its interval, which are ``None`` where one cluster, or none, is all there is."""

    value: float
    low: float | None
    high: float | None


class Difference(NamedTuple):
    """A paired difference with its interval, and the p-value of there being none."""

    value: float
    low: float | None
    high: float | None
    p_value: float | None


class Bootstrap:
    """Values of several conditions on the same draws of clusters.

    Args:
        outcomes: How each condition did.
        clusters: How many clusters of rows there are.
        resamples: How many draws.
        confidence: Of the intervals, such as 0.95.
        seed: Of the draws.

    Example:
        >>> from knowledge_plugin.evaluation.metrics import SummedOutcomes, find_metric
        >>> right = np.array([[1, 1], [1, 1], [0, 1], [1, 1]])  # of four sentences about three entities
        >>> outcomes = SummedOutcomes(find_metric("accuracy"), right, np.array([0, 0, 1, 2]))
        >>> Bootstrap({"plugin": outcomes}, 3, resamples=500, seed=0).interval("plugin")
        Interval(value=0.75, low=0.0, high=1.0)
    """

    def __init__(
        self,
        outcomes: Mapping[str, Outcomes],
        clusters: int,
        *,
        resamples: int = 2000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        self.clusters = clusters
        whole = np.ones((1, clusters))
        self._values = {name: float(each.at(whole)[0]) for name, each in outcomes.items()}
        drawn: dict[str, list[np.ndarray]] = {name: [] for name in outcomes}
        if clusters > 1:
            for weights in _draws(clusters, resamples, seed):
                for name, each in outcomes.items():
                    drawn[name].append(each.at(weights))
        self._drawn = {name: np.concatenate(values) if values else np.empty(0) for name, values in drawn.items()}
        self._tail = (1 - confidence) / 2

    def interval(self, name: str) -> Interval:
        """Return the value of a condition with its percentile interval."""
        return Interval(self._values[name], *self._bounds(self._drawn[name]))

    def difference(self, name: str, other: str) -> Difference:
        """Return what one condition has more than another, entity by entity.

        The p-value is that of the paired bootstrap: twice the share of draws that lie on the other side of zero. It is
        below 5 % just where the 95 % interval does not hold zero, but where that ends within a draw of zero.
        """
        drawn = self._drawn[name] - self._drawn[other]
        drawn = drawn[~np.isnan(drawn)]
        value = self._values[name] - self._values[other]
        if not len(drawn):
            return Difference(value, None, None, None)
        beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
        return Difference(value, *self._bounds(drawn), min(1.0, 2 * (beyond + 1) / (len(drawn) + 1)))

    def _bounds(self, drawn: np.ndarray) -> tuple[float | None, float | None]:
        drawn = drawn[~np.isnan(drawn)]
        if not len(drawn):
            return None, None
        low, high = np.quantile(drawn, [self._tail, 1 - self._tail])
        return float(low), float(high)


def _draws(clusters: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield weights ``[some, clusters]``: how often each cluster is drawn, with replacement."""
    generator = np.random.default_rng(seed)
    chances = np.full(clusters, 1 / clusters)
    at_a_time = max(1, _CELLS // clusters)
    for start in range(0, resamples, at_a_time):
        yield generator.multinomial(clusters, chances, size=min(at_a_time, resamples - start)).astype(float)
