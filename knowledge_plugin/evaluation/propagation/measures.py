"""What is counted of scores: accuracy and P(gold) of a choice, perplexity of a span, baselines that read nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from knowledge_plugin.evaluation.metrics import find_metric
from knowledge_plugin.evaluation.propagation.conditions import Asked
from knowledge_plugin.evaluation.propagation.probes import EntityProbe, TaskName
from knowledge_plugin.evaluation.propagation.spans import SpanScores

ACCURACY, P_GOLD, PERPLEXITY = "accuracy", "P(gold)", "perplexity"
METRICS: dict[TaskName, tuple[str, ...]] = {"entity-inferences": (ACCURACY, P_GOLD), "ecbd": (PERPLEXITY,)}

# A mean, and the exponential of one: what adds up is the number of each row, and how many rows.
VALUE_OF = {ACCURACY: find_metric("accuracy"), P_GOLD: find_metric("loss"), PERPLEXITY: find_metric("perplexity")}

Counts = dict[str, np.ndarray]


def count(probes: Sequence[EntityProbe], asked: Asked, scores: SpanScores) -> Counts:
    """Return numbers that add up, ``[probes, 2]`` for each metric: the probe's own, and one.

    - Accuracy and P(gold): the probability of an option is its span's, among those of all options (a softmax over
      sums of log-probabilities, not divided by length). Right is a gold option that is likelier than every other.
    - Perplexity: what is counted is the mean negative log-probability of a span's tokens, so that every probe counts
      alike, however long its span is.
    """
    if not probes[0].options:
        return {PERPLEXITY: _with_ones(-scores.log_prob / scores.tokens)}
    right, gold = np.zeros(len(probes)), np.zeros(len(probes))
    ends = np.cumsum(asked.counts)
    for i, (probe, end) in enumerate(zip(probes, ends, strict=True)):
        log_prob = scores.log_prob[end - asked.counts[i] : end]
        at = probe.options.index(probe.gold)
        gold[i] = np.exp(log_prob[at] - _log_sum(log_prob))
        right[i] = log_prob[at] > np.delete(log_prob, at).max()
    return {ACCURACY: _with_ones(right), P_GOLD: _with_ones(gold)}


def majority(probes: Sequence[EntityProbe]) -> np.ndarray:
    """Return ``[probes, 2]``: whether always naming the most frequent answer of a probe's file is right, and one."""
    counts: dict[str, Counter[str]] = {}
    for probe in probes:
        counts.setdefault(probe.file, Counter())[probe.gold] += 1
    most = {file: found.most_common(1)[0][0] for file, found in counts.items()}
    return _with_ones(np.array([float(probe.gold == most[probe.file]) for probe in probes]))


def chance(probes: Sequence[EntityProbe]) -> np.ndarray:
    """Return ``[probes, 2]``: the probability of each option if all are alike, and one."""
    return _with_ones(np.array([1 / len(probe.options) for probe in probes]))


def _log_sum(values: np.ndarray) -> float:
    largest = values.max()
    return float(largest + np.log(np.exp(values - largest).sum()))


def _with_ones(numbers: np.ndarray) -> np.ndarray:
    return np.stack([numbers, np.ones(len(numbers))], axis=1)
