"""Whether the knowledge is in the vectors at all: what cannot be read off them linearly, no mapping will bring."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from knowledge_plugin.errors import EvaluationError, MissingDependencyError
from knowledge_plugin.evaluation.bootstrap import Bootstrap
from knowledge_plugin.evaluation.metrics import SummedOutcomes, find_metric

FOLDS = 5


@dataclass(frozen=True)
class Probe:
    """A linear probe from entity vectors to labels, by cross-validation over entities.

    Attributes:
        accuracy: Share of the entities whose label a logistic regression reads off their vectors; it has seen the
            vectors and labels of the entities in the other folds, and no other.
        low: Lower bound of its interval.
        high: Upper bound of its interval.
        most_frequent: What always naming the most frequent label would reach.
        entities: How many entities.
        labels: How many different labels they have.
        folds: Into how many parts they are split.
    """

    accuracy: float
    low: float | None
    high: float | None
    most_frequent: float
    entities: int
    labels: int
    folds: int


def linear_probe(
    vectors: np.ndarray, labels: np.ndarray, *, seed: int = 0, resamples: int = 2000, confidence: float = 0.95
) -> Probe:
    """Predict labels from vectors with a logistic regression.

    Args:
        vectors: ``[entities, dim]``; each entity once, so that none is in two folds.
        labels: ``[entities]``, whole numbers.
        seed: Of the folds, and of the draws of the bootstrap.
        resamples: Of the bootstrap.
        confidence: Of the interval.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
        EvaluationError: Fewer than ten entities, or only one label.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import KFold
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise MissingDependencyError("evaluation", "scikit-learn") from error

    counts = np.unique(labels, return_counts=True)[1]
    if len(labels) < 2 * FOLDS or len(counts) < 2:
        raise EvaluationError(
            f"a probe needs {2 * FOLDS} entities and two labels, found {len(labels)} and {len(counts)}."
        )
    right = np.zeros(len(labels), dtype=bool)
    for known, asked in KFold(FOLDS, shuffle=True, random_state=seed).split(vectors):
        if len(np.unique(labels[known])) == 1:
            predicted = labels[known][:1].repeat(len(asked))
        else:
            regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            with warnings.catch_warnings():
                # The last digits of the weights decide nothing here.
                warnings.simplefilter("ignore", ConvergenceWarning)
                predicted = regression.fit(vectors[known], labels[known]).predict(vectors[asked])
        right[asked] = predicted == labels[asked]
    sums = np.stack([right, np.ones_like(right)], axis=1).astype(float)
    outcomes = SummedOutcomes(find_metric("accuracy"), sums, np.arange(len(labels)))
    bootstrap = Bootstrap({"probe": outcomes}, len(labels), resamples=resamples, confidence=confidence, seed=seed)
    return Probe(*bootstrap.interval("probe"), float(counts.max() / len(labels)), len(labels), len(counts), FOLDS)
