from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from knowledge_plugin.evaluation.bootstrap import Bootstrap
from knowledge_plugin.evaluation.metrics import SummedOutcomes, find_metric

ACCURACY = find_metric("accuracy")


def outcomes(right, clusters):
    right = np.asarray(right, dtype=float)
    return SummedOutcomes(ACCURACY, np.stack([right, np.ones_like(right)], axis=1), np.asarray(clusters))


def simulate(seed, clusters=60, size=6, chance=0.7, spread=2.0):
    """Draw right and wrong answers about entities, each with a difficulty of its own that its rows share."""
    generator = np.random.default_rng(seed)
    concentration = 1 / spread
    easy = generator.beta(chance * concentration, (1 - chance) * concentration, size=clusters)
    right = generator.random((clusters, size)) < easy[:, None]
    return right.ravel(), np.repeat(np.arange(clusters), size)


def test_intervals_cover_what_they_should_and_intervals_over_rows_do_not():
    """95 % intervals hold the true value in about 95 % of the samples, only if whole entities are drawn."""
    samples, inside, inside_by_row = 300, 0, 0
    for seed in range(samples):
        right, clusters = simulate(seed)
        _, low, high = Bootstrap({"a": outcomes(right, clusters)}, 60, resamples=400, seed=seed).interval("a")
        inside += low <= 0.7 <= high
        rows = Bootstrap({"a": outcomes(right, range(len(right)))}, len(right), resamples=400, seed=seed)
        _, low, high = rows.interval("a")
        inside_by_row += low <= 0.7 <= high
    assert 0.91 <= inside / samples <= 0.98
    assert inside_by_row / samples < 0.75


def test_no_difference_is_found_about_as_often_as_promised():
    """Two conditions that differ by chance alone: below 5 % in about 5 % of the samples."""
    samples, found = 300, 0
    for seed in range(samples):
        generator = np.random.default_rng(seed)
        right, clusters = simulate(seed)
        flipped = generator.random(len(right)) < 0.2
        left, other = right.copy(), right.copy()
        swap = generator.random(len(right)) < 0.5
        left[flipped & swap], other[flipped & ~swap] = ~left[flipped & swap], ~other[flipped & ~swap]
        both = {"a": outcomes(left, clusters), "b": outcomes(other, clusters)}
        found += Bootstrap(both, 60, resamples=400, seed=seed).difference("a", "b").p_value < 0.05
    assert 0.02 <= found / samples <= 0.09


def test_a_real_difference_is_found():
    right, clusters = simulate(0)
    better = right | (np.random.default_rng(1).random(len(right)) < 0.3)
    both = {"a": outcomes(better, clusters), "b": outcomes(right, clusters)}
    difference = Bootstrap(both, 60, seed=0).difference("a", "b")
    assert difference.value == pytest.approx(better.mean() - right.mean())
    assert 0 < difference.low < difference.value < difference.high
    assert difference.p_value < 0.01


def test_rows_of_their_own_give_the_interval_that_scipy_gives():
    right, _ = simulate(3, clusters=200, size=1)
    ours = Bootstrap({"a": outcomes(right, range(200))}, 200, resamples=4000, seed=0).interval("a")
    theirs = stats.bootstrap(
        (right.astype(float),), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert ours.value == pytest.approx(right.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_p_is_below_5_percent_just_where_the_interval_leaves_zero_out():
    decided = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        right, clusters = simulate(seed, clusters=25)
        other = right & (generator.random(len(right)) < 0.98) | (generator.random(len(right)) < 0.02)
        both = {"a": outcomes(right, clusters), "b": outcomes(other, clusters)}
        difference = Bootstrap(both, 25, resamples=999, seed=seed).difference("a", "b")
        if abs(difference.p_value - 0.05) > 0.005:  # else the quantile lies between two draws
            assert (difference.p_value < 0.05) == (difference.low > 0 or difference.high < 0)
            decided += 0.05 < difference.p_value < 0.1
    assert decided >= 3  # a p-value of one side alone would be below 5 % there


def test_conditions_are_compared_on_the_same_draws():
    right, clusters = simulate(0)
    both = {"a": outcomes(right, clusters), "b": outcomes(right, clusters)}
    assert Bootstrap(both, 60).difference("a", "b") == (0.0, 0.0, 0.0, 1.0)


def test_a_seed_gives_the_same_again_and_another_gives_another():
    right, clusters = simulate(0)
    first, again, other = (
        Bootstrap({"a": outcomes(right, clusters)}, 60, resamples=50, seed=seed).interval("a") for seed in (1, 1, 2)
    )
    assert first == again != other


def test_more_confidence_is_a_wider_interval():
    right, clusters = simulate(0)
    narrow, wide = (Bootstrap({"a": outcomes(right, clusters)}, 60, confidence=c).interval("a") for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_entity_gives_no_interval():
    one = {"a": outcomes([1, 1, 0], [0, 0, 0]), "b": outcomes([0, 0, 0], [0, 0, 0])}
    bootstrap = Bootstrap(one, 1)
    assert bootstrap.interval("a") == (pytest.approx(2 / 3), None, None)
    assert bootstrap.difference("a", "b") == (pytest.approx(2 / 3), None, None, None)


def test_draws_without_a_figure_are_left_out():
    counts = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])  # two of three rows have nothing to score
    some = SummedOutcomes(ACCURACY, counts, np.arange(3))
    assert Bootstrap({"a": some}, 3).interval("a") == (1.0, 1.0, 1.0)


def test_how_many_draws_are_in_memory_at_a_time_changes_nothing(monkeypatch):
    right, clusters = simulate(0)
    whole = Bootstrap({"a": outcomes(right, clusters)}, 60, resamples=100).interval("a")
    monkeypatch.setattr("knowledge_plugin.evaluation.bootstrap._CELLS", 7 * 60)
    assert Bootstrap({"a": outcomes(right, clusters)}, 60, resamples=100).interval("a") == whole
