"""From counts of each probe to figures with intervals over entities, on all probes and on parts of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from knowledge_plugin.evaluation.bootstrap import Bootstrap
from knowledge_plugin.evaluation.metrics import SummedOutcomes
from knowledge_plugin.evaluation.propagation.conditions import ANOTHER, NONE, PREPEND
from knowledge_plugin.evaluation.propagation.findings import Contrast, Figure
from knowledge_plugin.evaluation.propagation.measures import ACCURACY, METRICS, VALUE_OF, Counts, chance, majority
from knowledge_plugin.evaluation.propagation.probes import EntityProbe, TaskName
from knowledge_plugin.evaluation.propagation.report import PLUGIN
from knowledge_plugin.evaluation.report import ALL

# Whose value minus whose.
PAIRS = (
    (PLUGIN, NONE),
    (PLUGIN, "shuffled"),
    (PLUGIN, "random"),
    (PLUGIN, ANOTHER),
    (PLUGIN, PREPEND),
    (PREPEND, NONE),
    (PREPEND, ANOTHER),
)


@dataclass(frozen=True)
class Drawing:
    """How intervals are made: draws of the bootstrap, confidence, and seed."""

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def bootstrap(self, metric: str, counts: Mapping[str, np.ndarray], clusters: np.ndarray) -> Bootstrap:
        """Return values of several conditions on the same draws.

        Args:
            metric: What is counted.
            counts: Of each condition, ``[rows, 2]``.
            clusters: The entity of each row, ``[rows]``, from 0.
        """
        outcomes = {name: SummedOutcomes(VALUE_OF[metric], each, clusters) for name, each in counts.items()}
        number = int(clusters.max()) + 1
        return Bootstrap(outcomes, number, resamples=self.resamples, confidence=self.confidence, seed=self.seed)


def parts_of(probes: Sequence[EntityProbe], linked: Sequence[bool]) -> dict[str, np.ndarray]:
    """Return which probes belong to each part, bool ``[probes]``; a row of two files counts once in the whole."""
    first: dict[tuple[str, ...], int] = {}
    for i, probe in enumerate(probes):
        first.setdefault((probe.id, probe.before, probe.gold, probe.after), i)
    whole = np.zeros(len(probes), dtype=bool)
    whole[list(first.values())] = True
    easy = np.array([probe.easy for probe in probes])
    parts = {ALL: whole, "easy": whole & easy, "hard": whole & ~easy}
    if not all(linked):
        parts["linked"] = whole & np.array(linked, dtype=bool)
    files = np.array([probe.file for probe in probes])
    if len(names := list(dict.fromkeys(files.tolist()))) > 1:
        parts |= {f"{name}.json": files == name for name in names}
    return {part: members for part, members in parts.items() if members.any()}


def figures_of(
    task: TaskName,
    probes: Sequence[EntityProbe],
    counts: Mapping[str, Counts],
    linked: Sequence[bool],
    drawing: Drawing,
) -> tuple[tuple[Figure, ...], tuple[Contrast, ...]]:
    """Return every condition on every part by every metric, and conditions against each other.

    Args:
        task: What was asked.
        probes: The probes.
        counts: Of each condition, of each metric, ``[probes, 2]``.
        linked: Whether an entity is plugged in, of each probe.
        drawing: How intervals are made.
    """
    entities = {probe.entity_id: i for i, probe in enumerate(probes)}
    of_probe = np.array([entities[probe.entity_id] for probe in probes])
    figures: list[Figure] = []
    contrasts: list[Contrast] = []
    for part, members in parts_of(probes, linked).items():
        clusters = np.unique(of_probe[members], return_inverse=True)[1]
        for metric in METRICS[task]:
            named = {name: each[metric] for name, each in counts.items()}
            if metric == ACCURACY:
                named |= {"majority": majority(probes), "chance": chance(probes)}
            bootstrap = drawing.bootstrap(metric, {name: each[members] for name, each in named.items()}, clusters)
            rows = int(members.sum())
            for name in named:
                value, low, high = bootstrap.interval(name)
                # Baselines have no interval: they are facts of the file.
                bounds = (None, None) if name in ("majority", "chance") else (low, high)
                figures.append(Figure(name, metric, part, value, *bounds, rows))
            contrasts += [
                Contrast(name, over, metric, part, *bootstrap.difference(name, over))
                for name, over in PAIRS
                if name in named and over in named
            ]
            if metric == ACCURACY and PLUGIN in named:
                difference = bootstrap.difference(PLUGIN, "majority")
                contrasts.append(Contrast(PLUGIN, "majority", metric, part, *difference))
    return tuple(figures), tuple(contrasts)
