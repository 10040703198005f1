"""Whether sentences about others stay what they are while an entity is injected."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np

from knowledge_plugin.evaluation.propagation.conditions import (
    NONE,
    PREPEND,
    as_context,
    definitions_by_file,
    others,
)
from knowledge_plugin.evaluation.propagation.entities import Resolved
from knowledge_plugin.evaluation.propagation.figures import Drawing
from knowledge_plugin.evaluation.propagation.measures import METRICS, Counts
from knowledge_plugin.evaluation.propagation.probes import EntityProbe
from knowledge_plugin.evaluation.propagation.reading import ProbeSet
from knowledge_plugin.evaluation.propagation.report import Specificity
from knowledge_plugin.linking.mention import Linker, Mention, link

# Counts of probes, with these contexts, or with these mentions.
Measure = Callable[[Sequence[EntityProbe], Sequence[str] | None, Sequence[Sequence[Mention]]], Counts]


class Bystanders:
    """Sentences that are not about what is injected: popular entities (ECBD), or other rows of the same file.

    With a definition in the text, one entity is injected at a time, and each sentence is read behind several of them.
    A plugin has all entities at once: it is asked to link what it links in these sentences, but for their own entity.

    Args:
        probes: What is asked.
        resolved: Their entities.
        linker: The plugin's own; ``None`` if it has none, and then it links nothing here.
        edits: How many definitions stand before each sentence, one after the other; ``None`` for all.
        seed: Of which ones.
    """

    def __init__(
        self, probes: ProbeSet, resolved: Resolved, linker: Linker | None, edits: int | None, seed: int
    ) -> None:
        self.metric = METRICS[probes.task][0]
        self.sentences = probes.popular if probes.task == "ecbd" else probes.probes
        own = (None,) * len(self.sentences) if probes.task == "ecbd" else resolved.ids
        self.mentions = _linked(self.sentences, own, linker)
        rng, definitions = random.Random(seed), definitions_by_file(probes.probes)
        self.definitions = [others(each, definitions, rng, edits) for each in self.sentences]
        self._counts: dict[str, np.ndarray] = {}

    def __bool__(self) -> bool:
        return bool(self.sentences) and any(self.definitions)

    def measure(self, condition: str, count: Measure) -> None:
        """Measure one condition, with the model as it is under it."""
        if condition == PREPEND:
            flat = [
                (each, text) for each, texts in zip(self.sentences, self.definitions, strict=True) for text in texts
            ]
            found = count([each for each, _ in flat], [as_context(text) for _, text in flat], ())[self.metric]
            ends = np.cumsum([len(texts) for texts in self.definitions])
            self._counts[condition] = np.array(
                [
                    found[end - len(texts) : end].mean(0) if texts else self._counts[NONE][i]
                    for i, (end, texts) in enumerate(zip(ends, self.definitions, strict=True))
                ]
            )
        else:
            self._counts[condition] = count(self.sentences, None, () if condition == NONE else self.mentions)[
                self.metric
            ]

    def compare(self, drawing: Drawing) -> tuple[Specificity, ...]:
        """Return every condition that was measured against nothing injected."""
        entities = [each.entity_id for each in self.sentences]
        clusters = np.unique(np.array(entities), return_inverse=True)[1]
        bootstrap = drawing.bootstrap(self.metric, self._counts, clusters)
        found = []
        for name in self._counts:
            if name == NONE:
                continue
            difference, low, high, _ = bootstrap.difference(name, NONE)
            in_text = name == PREPEND
            found.append(
                Specificity(
                    condition=name,
                    metric=self.metric,
                    before=bootstrap.interval(NONE).value,
                    after=bootstrap.interval(name).value,
                    difference=difference,
                    low=low,
                    high=high,
                    rows=len(self.sentences),
                    edits=float(np.mean([len(texts) for texts in self.definitions])) if in_text else 1.0,
                    touched=None if in_text else sum(map(bool, self.mentions)),
                )
            )
        return tuple(found)


def _linked(
    sentences: Sequence[EntityProbe], own: Sequence[str | None], linker: Linker | None
) -> list[tuple[Mention, ...]]:
    """Return what the plugin links in sentences on both sides of the blank, but for the entity of each."""
    if linker is None:
        return [() for _ in sentences]
    before = link(linker, [each.before for each in sentences])
    after = link(linker, [each.after for each in sentences])
    found = []
    for i, each in enumerate(sentences):
        shift = len(each.before)
        both = [*before[i], *(m._replace(start=m.start + shift, end=m.end + shift) for m in after[i])]
        found.append(tuple(m for m in both if m.entity_id != own[i]))
    return found
