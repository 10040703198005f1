from __future__ import annotations

import sys

import numpy as np
import pytest

from knowledge_plugin.errors import EvaluationError, MissingDependencyError
from knowledge_plugin.evaluation.probe import linear_probe

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 3, size=90)


def test_knowledge_that_is_there_is_read_off():
    vectors = np.eye(3)[LABELS] + 0.1 * GENERATOR.standard_normal((90, 3))
    probe = linear_probe(vectors, LABELS)
    assert probe.accuracy > 0.97
    assert probe.low <= probe.accuracy <= probe.high
    assert (probe.entities, probe.labels, probe.folds) == (90, 3, 5)
    assert probe.most_frequent == pytest.approx(np.bincount(LABELS).max() / 90)


def test_what_is_not_there_is_not_learned_by_heart():
    """Vectors that tell every entity from every other, and nothing about labels: seen vectors would give all."""
    vectors = GENERATOR.standard_normal((90, 200))
    assert linear_probe(vectors, LABELS).accuracy < 0.5


def test_a_seed_gives_the_same_again():
    vectors = GENERATOR.standard_normal((90, 4))
    assert linear_probe(vectors, LABELS, seed=3) == linear_probe(vectors, LABELS, seed=3)


def test_the_scale_of_the_vectors_is_no_matter():
    vectors = np.eye(3)[LABELS] + 0.5 * GENERATOR.standard_normal((90, 3))
    assert linear_probe(vectors * 1e-4, LABELS).accuracy == pytest.approx(linear_probe(vectors, LABELS).accuracy)


def test_a_label_that_one_entity_alone_has():
    labels = np.array([0] * 9 + [1])
    probe = linear_probe(np.arange(10.0)[:, None], labels)
    assert probe.accuracy == pytest.approx(0.9)


@pytest.mark.parametrize(("labels", "found"), [([0, 1] * 4, "8 and 2"), ([1] * 20, "20 and 1")])
def test_too_little_to_learn_from(labels, found):
    with pytest.raises(EvaluationError, match=f"ten|10 entities and two labels, found {found}"):
        linear_probe(np.zeros((len(labels), 2)), np.array(labels))


def test_scikit_learn_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'knowledge-plugin\[evaluation\]'"):
        linear_probe(np.zeros((20, 2)), np.array([0, 1] * 10))
