"""Metrics that can be asked of any selection of rows, so that a bootstrap costs sums and no forward pass.

A metric turns the answer at each scored place into a few numbers that add up (right or wrong, and one; or true
positives, false positives, false negatives), and a sum of those into its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from knowledge_plugin.errors import EvaluationError

MetricFunction = Callable[[np.ndarray, np.ndarray], float]

METRIC_NAMES = ("accuracy", "micro-f1", "hits@k", "loss", "perplexity")


@dataclass(frozen=True)
class Metric:
    """A metric with a name.

    Attributes:
        name: What it is called, such as ``"hits@5"``.
        higher_is_better: Whether more of it is better.
        count: Turns logits ``[n, classes]`` and labels ``[n]`` (or ``[n, classes]`` of 0 and 1, where a text has
            several) into numbers ``[n, k]`` that add up.
        value: Turns sums of these, ``[..., k]``, into values ``[...]``; NaN where nothing was summed.
        several_labels: Whether it is defined where a text has several labels.
    """

    name: str
    higher_is_better: bool
    count: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    value: Callable[[np.ndarray], np.ndarray]
    several_labels: bool = False


def find_metric(name: str) -> Metric:
    """Return a metric by its name.

    Raises:
        EvaluationError: There is no such metric.

    Example:
        >>> find_metric("hits@2").count(torch.tensor([[0.1, 0.7, 0.2]]), torch.tensor([2])).tolist()
        [[1.0, 1.0]]
    """
    if isinstance(name, str) and (match := re.fullmatch(r"hits@([1-9]\d{0,5})", name)):
        k = int(match[1])
        return Metric(name, True, lambda logits, labels: _hits(logits, labels, k), _mean)
    if name not in _METRICS:
        raise EvaluationError(
            f"metric: expected one of {', '.join(METRIC_NAMES)} (such as 'hits@5'), or a function of predictions and "
            f"labels, found {name!r:.80}."
        )
    return _METRICS[name]


def predict(logits: torch.Tensor, several: bool = False) -> torch.Tensor:
    """Return what a head answers: the class ``[n]``, 0 and 1 for each ``[n, classes]``, or the one number ``[n]``."""
    if several:
        return (logits > 0).long()
    return logits[:, 0] if logits.shape[1] == 1 else logits.argmax(-1)


def _with_ones(numbers: torch.Tensor) -> torch.Tensor:
    return torch.stack([numbers.double(), torch.ones(len(numbers), dtype=torch.float64)], dim=1)


def _right(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    if labels.dim() == 2:
        return _with_ones((predict(logits, several=True) == labels).all(-1))
    return _with_ones(predict(logits) == labels)


def _hits(logits: torch.Tensor, labels: torch.Tensor, k: int) -> torch.Tensor:
    if k >= logits.shape[1]:
        raise EvaluationError(f"hits@{k}: among {logits.shape[1]} classes any answer is a hit. Ask for a smaller k.")
    # Where classes have equal logits, the label comes last of them: a head that answers nothing is never right.
    at_label = logits.gather(1, labels[:, None])
    return _with_ones((logits >= at_label).sum(1) <= k)


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return _with_ones(functional.cross_entropy(logits, labels, reduction="none"))


def _confusion(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    if labels.dim() == 1:
        wrong = (predict(logits) != labels).double()
        return torch.stack([1 - wrong, wrong, wrong], dim=1)
    found, there = predict(logits, several=True).bool(), labels.bool()
    return torch.stack([(found & there).sum(1), (found & ~there).sum(1), (~found & there).sum(1)], dim=1).double()


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _mean(sums: np.ndarray) -> np.ndarray:
    return _ratio(sums[..., 0], sums[..., 1])


def _f1(sums: np.ndarray) -> np.ndarray:
    right, invented, missed = (sums[..., i] for i in range(3))
    return _ratio(2 * right, 2 * right + invented + missed)


_METRICS = {
    "accuracy": Metric("accuracy", True, _right, _mean, several_labels=True),
    "micro-f1": Metric("micro-f1", True, _confusion, _f1, several_labels=True),
    "loss": Metric("loss", False, _loss, _mean),
    "perplexity": Metric("perplexity", False, _loss, lambda sums: np.exp(_mean(sums))),
}


class Outcomes(Protocol):
    """How one condition did on the rows: its metric under any weights."""

    def at(self, weights: np.ndarray) -> np.ndarray:
        """Return the metric's values ``[n]`` where each cluster of rows counts ``weights`` ``[n, clusters]`` times."""
        ...


class SummedOutcomes:
    """Of a metric with a name.

    Args:
        metric: The metric.
        counts: Numbers that add up, ``[rows, k]``.
        clusters: The cluster of each row, ``[rows]``, from 0.
    """

    def __init__(self, metric: Metric, counts: np.ndarray, clusters: np.ndarray) -> None:
        self.metric = metric
        self.sums = np.zeros((int(clusters.max()) + 1, counts.shape[1]))
        np.add.at(self.sums, clusters, counts)

    def at(self, weights: np.ndarray) -> np.ndarray:
        """Return values ``[n]`` of weights ``[n, clusters]``."""
        return self.metric.value(weights @ self.sums)


class RecomputedOutcomes:
    """Of a function that somebody gave, which must see predictions and labels anew each time.

    Args:
        function: Takes predictions and labels, gives a number.
        predictions: ``[rows]`` or ``[rows, classes]``.
        labels: The same.
        clusters: The cluster of each row, ``[rows]``, from 0.
    """

    def __init__(
        self, function: MetricFunction, predictions: np.ndarray, labels: np.ndarray, clusters: np.ndarray
    ) -> None:
        self.function, self.predictions, self.labels, self.clusters = function, predictions, labels, clusters

    def at(self, weights: np.ndarray) -> np.ndarray:
        """Return values ``[n]`` of whole weights ``[n, clusters]``."""
        rows = (np.repeat(np.arange(len(self.clusters)), times.astype(int)[self.clusters]) for times in weights)
        return np.array([float(self.function(self.predictions[i], self.labels[i])) if len(i) else np.nan for i in rows])
