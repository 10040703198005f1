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
from knowledge_plugin.evaluation.propagation.findings import Specificity
from knowledge_plugin.evaluation.propagation.measures import METRICS, Counts
from knowledge_plugin.evaluation.propagation.probes import EntityProbe
from knowledge_plugin.evaluation.propagation.reading import ProbeSet
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
        in_text: Whether the plugin's tokens stand in the text; else every sentence is touched.
    """

    def __init__(
        self, probes: ProbeSet, resolved: Resolved, linker: Linker | None, edits: int | None, seed: int, in_text: bool
    ) -> None:
        self.metric = METRICS[probes.task][0]
        self.sentences = probes.popular if probes.task == "ecbd" else probes.probes
        own = (None,) * len(self.sentences) if probes.task == "ecbd" else resolved.ids
        self.mentions = _linked(self.sentences, own, linker if in_text else None)
        self._in_text = in_text
        rng, definitions = random.Random(seed), definitions_by_file(probes.probes)
        self.definitions = [others(each, definitions, rng, edits) for each in self.sentences]
        self._counts: dict[str, np.ndarray] = {}

    def __bool__(self) -> bool:
        return bool(self.sentences) and any(self.definitions)

    def measure(self, condition: str, count: Measure) -> None:
        """Measure one condition, with the model as it is under it."""
        if condition != PREPEND:
            mentions = () if condition == NONE else self.mentions
            self._counts[condition] = count(self.sentences, None, mentions)[self.metric]
            return
        flat = [(i, text) for i, texts in enumerate(self.definitions) for text in texts]
        found = count([self.sentences[i] for i, _ in flat], [as_context(text) for _, text in flat], ())[self.metric]
        means = self._counts[NONE].copy()  # where nothing can be put before a sentence
        for i in {i for i, _ in flat}:
            means[i] = found[[owner == i for owner, _ in flat]].mean(0)
        self._counts[condition] = means

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
            told = name == PREPEND
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
                    edits=float(np.mean([len(texts) for texts in self.definitions])) if told else 1.0,
                    touched=None if told or not self._in_text else sum(map(bool, self.mentions)),
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
