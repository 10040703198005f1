from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch.nn import functional

from knowledge_plugin.errors import EvaluationError
from knowledge_plugin.evaluation.metrics import RecomputedOutcomes, SummedOutcomes, find_metric, predict


def value(name, logits, labels):
    metric = find_metric(name)
    return float(metric.value(metric.count(logits, labels).numpy().sum(0)))


def draw(seed, rows=40, classes=6, several=False):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator)
    if several:
        return logits, (torch.rand(rows, classes, generator=generator) > 0.6).long()
    return logits, torch.randint(classes, (rows,), generator=generator)


@pytest.mark.parametrize("seed", range(3))
def test_as_scikit_learn_has_it(seed):
    logits, labels = draw(seed)
    right = sk.accuracy_score(labels, logits.argmax(-1))
    assert value("accuracy", logits, labels) == pytest.approx(right)
    assert value("micro-f1", logits, labels) == pytest.approx(right)
    for k in (1, 3, 5):
        expected = sk.top_k_accuracy_score(labels, logits, k=k, labels=range(6))
        assert value(f"hits@{k}", logits, labels) == pytest.approx(expected)
    loss = sk.log_loss(labels, logits.double().softmax(-1), labels=range(6))
    assert value("loss", logits, labels) == pytest.approx(loss)
    assert value("perplexity", logits, labels) == pytest.approx(np.exp(loss))


@pytest.mark.parametrize("seed", range(3))
def test_several_labels_as_scikit_learn_has_it(seed):
    logits, labels = draw(seed, several=True)
    predicted = predict(logits, several=True)
    assert value("micro-f1", logits, labels) == pytest.approx(sk.f1_score(labels, predicted, average="micro"))
    assert value("accuracy", logits, labels) == pytest.approx(sk.accuracy_score(labels, predicted))


def test_a_head_that_answers_the_same_everywhere_hits_nothing():
    assert value("hits@2", torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])) == 0


def test_more_hits_than_classes_say_nothing():
    with pytest.raises(EvaluationError, match="hits@3: among 3 classes any answer is a hit"):
        find_metric("hits@3").count(torch.zeros(1, 3), torch.tensor([0]))


@pytest.mark.parametrize("name", ["acuracy", "hits@0", "hits@", "hits@x", "", None, 5])
def test_a_metric_that_is_not_there(name):
    with pytest.raises(EvaluationError, match=r"expected one of accuracy, .* found"):
        find_metric(name)


def test_which_way_is_better():
    assert find_metric("hits@5").higher_is_better
    assert not find_metric("perplexity").higher_is_better


def test_what_a_head_answers():
    assert predict(torch.tensor([[0.1, 0.9], [2.0, -1.0]])).tolist() == [1, 0]
    assert predict(torch.tensor([[0.1, -0.9]]), several=True).tolist() == [[1, 0]]
    assert predict(torch.tensor([[0.5], [-2.0]])).tolist() == [0.5, -2.0]


def test_nothing_summed_is_no_number():
    for name in ("accuracy", "micro-f1", "perplexity"):
        metric = find_metric(name)
        assert np.isnan(metric.value(np.zeros((2, 3)))).all()


@given(st.integers(0, 10_000), st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_sums_under_weights_are_the_metric_of_repeated_rows(seed, clusters):
    """What makes the bootstrap cheap changes no figure: each draw is the metric of the rows that it repeats."""
    clusters = np.unique(clusters, return_inverse=True)[1]
    number = int(clusters.max()) + 1
    logits, labels = draw(seed, rows=12, classes=3)
    weights = np.random.default_rng(seed).integers(0, 4, size=(5, number)).astype(float)
    repeated = RecomputedOutcomes(
        lambda predictions, truth: float(np.mean(predictions == truth)),
        logits.argmax(-1).numpy(),
        labels.numpy(),
        clusters,
    )
    metric = find_metric("accuracy")
    summed = SummedOutcomes(metric, metric.count(logits, labels).numpy(), clusters)
    np.testing.assert_allclose(summed.at(weights), repeated.at(weights))


def test_the_loss_of_one_answer_is_cross_entropy():
    logits, labels = draw(0, rows=1)
    assert value("loss", logits, labels) == pytest.approx(float(functional.cross_entropy(logits, labels)))
