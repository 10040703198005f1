"""The model over all rows, under one condition after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from huggingface_hub.utils import tqdm

from knowledge_plugin.evaluation.conditions import Condition, under
from knowledge_plugin.evaluation.metrics import (
    Metric,
    MetricFunction,
    Outcomes,
    RecomputedOutcomes,
    SummedOutcomes,
    predict,
)
from knowledge_plugin.evaluation.readings import Reading
from knowledge_plugin.evaluation.tasks import Answers, Task
from knowledge_plugin.injection.hook import Hook


class Run:
    """What a condition answered, on all rows.

    Attributes:
        seconds: How long the model ran.
        tokens: How many tokens it read, without padding.
    """

    def __init__(self, metric: Metric | MetricFunction, rows: int, several: bool) -> None:
        self.seconds, self.tokens = 0.0, 0
        self._metric, self._several = metric, several
        self._counts = np.zeros((rows, 0))
        self._predictions: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._owners: list[np.ndarray] = []

    def add(self, answers: Answers) -> None:
        """Count the answers of a batch."""
        owners = answers.rows.numpy()
        if isinstance(self._metric, Metric):
            counts = self._metric.count(answers.logits, answers.labels).numpy()
            if not self._counts.shape[1]:
                self._counts = np.zeros((len(self._counts), counts.shape[1]))
            np.add.at(self._counts, owners, counts)
        else:
            self._owners.append(owners)
            self._predictions.append(predict(answers.logits, self._several).numpy())
            self._labels.append(answers.labels.numpy())

    def outcomes(self, members: np.ndarray, clusters: np.ndarray) -> Outcomes:
        """Return how it did on some rows, ``members`` ``[rows]`` of bool, of these ``clusters`` ``[members]``."""
        if isinstance(self._metric, Metric):
            return SummedOutcomes(self._metric, self._counts[members], clusters)
        owners, predictions, labels = map(np.concatenate, (self._owners, self._predictions, self._labels))
        order = np.argsort(owners, kind="stable")  # as in the dataset, whatever the batches were
        order = order[members[owners[order]]]
        cluster_of = np.zeros(len(members), dtype=int)
        cluster_of[members] = clusters
        return RecomputedOutcomes(self._metric, predictions[order], labels[order], cluster_of[owners[order]])


def run_conditions(
    conditions: Mapping[str, Callable[[], Condition]],
    task: Task,
    readings: Mapping[str, Reading],
    metric: Metric | MetricFunction,
    hook: Hook,
    *,
    batch_size: int,
    progress: bool,
) -> dict[str, Run]:
    """Run the model over all rows under each condition, in the same batches.

    Args:
        conditions: By name, what makes each.
        task: What the model is asked.
        readings: The rows, by the way in which they are read.
        metric: What to count of the answers.
        hook: The plugin's hook on the model.
        batch_size: Rows per forward pass.
        progress: Show a bar on stderr.
    """
    # Put together by the length of the plain text, longest first: too little memory is noticed at once.
    plain = readings["plain"].features
    order = sorted(range(len(plain)), key=lambda i: -len(plain[i]["input_ids"]))
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    runs: dict[str, Run] = {}
    with tqdm(total=len(batches) * len(conditions), disable=not progress, leave=False) as bar:  # on stderr
        for name, make in conditions.items():
            bar.set_description(f"evaluating: {name}")
            condition = make()
            run = runs[name] = Run(metric, len(plain), task.several_labels)
            run.tokens = readings[condition.way].tokens
            with under(hook, condition):
                for batch in batches:
                    began = time.perf_counter()
                    answers = task.answer(condition.way, batch)
                    run.seconds += time.perf_counter() - began
                    run.add(answers)
                    bar.update()
    return runs
