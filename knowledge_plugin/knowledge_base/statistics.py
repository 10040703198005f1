"""How ambiguous the names of a knowledge base are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from knowledge_plugin.knowledge_base.lookup import AliasLookup

_SHOWN = 10


class AliasStatistics(NamedTuple):
    """What the names of a knowledge base lead to.

    Attributes:
        aliases: Rows of the alias table.
        names: Different names that can be looked up; spellings that differ in case alone are one, and blank names and
            very long ones none.
        ambiguous: How many of these lead to more than one entity.
        most_ambiguous: Of these, up to ten with the most entities, as ``(name, entities)``.
    """

    aliases: int
    names: int
    ambiguous: int
    most_ambiguous: tuple[tuple[str, int], ...]

    @property
    def ambiguity_rate(self) -> float:
        """Share of names that lead to more than one entity."""
        return self.ambiguous / self.names if self.names else 0.0


def alias_statistics(lookup: AliasLookup, aliases: int) -> AliasStatistics:
    """Count the candidates of every name; see :meth:`KnowledgeBase.alias_statistics`."""
    counts = np.diff(lookup.starts)
    several = np.flatnonzero(counts > 1)
    first = several[np.argsort(-counts[several], kind="stable")][:_SHOWN]
    shown = tuple((lookup.trie.restore_key(int(key)), int(counts[key])) for key in first)
    return AliasStatistics(aliases, len(counts), len(several), shown)
