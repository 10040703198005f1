"""How a probe is read: as it is, with a definition before it, or with an entity plugged in."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from knowledge_plugin.evaluation.propagation.probes import EntityProbe
from knowledge_plugin.evaluation.propagation.spans import Filled
from knowledge_plugin.linking.mention import Mention

NONE, PREPEND, ANOTHER = "none", "prepend", "another"
WITH_VECTORS = ("plugin", "shuffled", "random")

# In the order of a report.
CONDITIONS = (NONE, ANOTHER, PREPEND, *WITH_VECTORS)
TITLES = {
    NONE: "nothing",
    ANOTHER: "  another's definition in the text",
    PREPEND: "its definition in the text",
    "plugin": "the plugin",
    "shuffled": "  shuffled vectors",
    "random": "  random vectors",
}


@dataclass(frozen=True)
class Asked:
    """What a scorer is asked of some probes under one condition, flat.

    Attributes:
        filled: Every option of every probe, one after the other; the gold span alone where there are no options.
        counts: How many of them each probe has, int64 ``[probes]``.
    """

    filled: list[Filled]
    counts: np.ndarray


def ask(
    probes: Sequence[EntityProbe], contexts: Sequence[str] | None = None, mentions: Sequence[Sequence[Mention]] = ()
) -> Asked:
    """Fill the blanks of probes.

    Args:
        probes: The probes.
        contexts: What stands before each; ``None`` for nothing.
        mentions: Of entities in each.
    """
    filled = [
        Filled(probe.before, span, probe.after, contexts[i] if contexts else "", tuple(mentions[i]) if mentions else ())
        for i, probe in enumerate(probes)
        for span in probe.options or (probe.gold,)
    ]
    return Asked(filled, np.array([len(probe.options) or 1 for probe in probes]))


def as_context(definition: str) -> str:
    """Return what stands before a sentence: the definition and a blank, as published."""
    return f"{definition.strip()} " if definition.strip() else ""


def definitions_by_file(probes: Sequence[EntityProbe]) -> dict[str, dict[str, str]]:
    """Return for each file the definition of each of its entities, the first of it if there are several."""
    found: dict[str, dict[str, str]] = {}
    for probe in probes:
        found.setdefault(probe.file, {}).setdefault(probe.entity_id, probe.definition)
    return found


def others(
    probe: EntityProbe, definitions: Mapping[str, Mapping[str, str]], rng: random.Random, most: int | None
) -> list[str]:
    """Return definitions of other entities of a probe's file, drawn without replacement.

    Of a probe whose file defines nothing, a popular entity's, they come from any file.
    """
    if probe.file in definitions:
        there = [text for key, text in definitions[probe.file].items() if key != probe.entity_id]
    else:
        there = [text for texts in definitions.values() for text in texts.values()]
    texts = list(dict.fromkeys(there))
    return texts if most is None or most >= len(texts) else rng.sample(texts, most)
