"""What is counted of scores, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from knowledge_plugin.evaluation.propagation import SpanScores
from knowledge_plugin.evaluation.propagation.conditions import ask
from knowledge_plugin.evaluation.propagation.measures import (
    ACCURACY,
    P_GOLD,
    PERPLEXITY,
    VALUE_OF,
    chance,
    count,
    majority,
)
from tests.evaluation.propagation import counting


def scores(log_prob, tokens=None):
    return SpanScores(np.array(log_prob, dtype=float), np.array(tokens or [1] * len(log_prob)))


def test_a_choice_is_a_softmax_over_sums():
    probes = counting.inferences().probes[:2]  # the first option is right, then the second
    found = count(probes, ask(probes), scores([-1, -2, -2, -2, -1, -2, -3, -3]))
    assert found[ACCURACY].tolist() == [[1, 1], [0, 1]]
    total = math.exp(-1) + 3 * math.exp(-2)
    assert found[P_GOLD][0, 0] == pytest.approx(math.exp(-1) / total)


def test_where_all_is_alike_nothing_is_right():
    probes = counting.inferences().probes[:1]
    found = count(probes, ask(probes), scores([-1000.0] * 4))
    assert found[ACCURACY].tolist() == [[0, 1]]
    assert found[P_GOLD][0, 0] == pytest.approx(0.25)


def test_every_span_counts_alike_in_perplexity():
    probes = counting.spans().probes[:2]
    found = count(probes, ask(probes), scores([-6.0, -1.0], [3, 1]))
    assert VALUE_OF[PERPLEXITY].value(found[PERPLEXITY].sum(0)) == pytest.approx(math.exp((2 + 1) / 2))


def test_baselines_that_read_nothing():
    probes = counting.inferences().probes[:5]  # drama, comedy, western, musical, drama
    assert majority(probes)[:, 0].tolist() == [1, 0, 0, 0, 1]
    assert chance(probes)[:, 0].tolist() == [0.25] * 5
    # Each file has a most frequent answer of its own.
    other = [replace(probes[1], file="other"), replace(probes[2], file="other"), replace(probes[1], file="other")]
    assert majority([*probes, *other])[:, 0].tolist() == [1, 0, 0, 0, 1, 1, 0, 1]
