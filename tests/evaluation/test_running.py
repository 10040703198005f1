from __future__ import annotations

import numpy as np
import pytest
import torch

from knowledge_plugin.evaluation.conditions import Condition
from knowledge_plugin.evaluation.metrics import find_metric
from knowledge_plugin.evaluation.readings import Reading
from knowledge_plugin.evaluation.running import Run, run_conditions
from knowledge_plugin.evaluation.tasks import Answers

LENGTHS = [3, 9, 1, 5, 7]
READING = Reading([{"input_ids": [1] * n} for n in LENGTHS], [[(0, 0)] * n for n in LENGTHS])


class Echo:
    """Answers the row's number modulo three, and is wrong about row 4; row 2 has no answer, row 3 has two."""

    name, several_labels, is_number = "echo", False, False

    def __init__(self):
        self.asked = []

    def answer(self, way, rows):
        self.asked.append((way, list(rows)))
        owners = torch.tensor([row for row in rows for _ in range({2: 0, 3: 2}.get(row, 1))], dtype=torch.long)
        labels = owners % 3
        answers = torch.where(owners == 4, (labels + 1) % 3, labels)
        return Answers(torch.eye(3)[answers], labels, owners)


def run(metric, batch_size=2, conditions=("none",)):
    task, makers = Echo(), {name: lambda: Condition("plain") for name in conditions}
    readings = {"plain": READING}
    found = run_conditions(makers, task, readings, metric, None, batch_size=batch_size, progress=False)
    return found, task


def value(run, members=(True,) * 5):
    members = np.array(members)
    outcomes = run.outcomes(members, np.arange(members.sum()))
    return float(outcomes.at(np.ones((1, int(members.sum()))))[0])


def share(predictions, labels):
    return float(np.mean(predictions == labels))


def test_long_rows_come_first_and_batches_are_the_same_for_all():
    _, task = run(find_metric("accuracy"), conditions=("none", "text"))
    assert task.asked == [("plain", [1, 4]), ("plain", [3, 0]), ("plain", [2])] * 2


@pytest.mark.parametrize("metric", [find_metric("accuracy"), share])
@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_every_scored_place_counts_once(metric, batch_size):
    found, _ = run(metric, batch_size)
    assert value(found["none"]) == pytest.approx(4 / 5)  # of rows 0, 1, 3, 3, 4
    assert value(found["none"], (False, True, False, False, True)) == pytest.approx(1 / 2)
    assert found["none"].tokens == sum(LENGTHS)
    assert found["none"].seconds > 0


@pytest.mark.parametrize("metric", [find_metric("accuracy"), share])
def test_weights_count_clusters_several_times(metric):
    found, _ = run(metric)
    outcomes = found["none"].outcomes(np.ones(5, bool), np.array([0, 0, 1, 1, 2]))
    assert outcomes.at(np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 0.0]])).tolist() == pytest.approx([2 / 5, 1.0])


def test_rows_without_an_answer_have_no_figure():
    found, _ = run(find_metric("accuracy"))
    assert np.isnan(value(found["none"], (False, False, True, False, False)))


def test_a_run_starts_with_nothing():
    assert Run(share, 3, several=False).seconds == 0
