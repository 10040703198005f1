"""How ambiguous the names of a knowledge base are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from knowledge_plugin.knowledge_base.lookup import AliasLookup


class Ambiguity(NamedTuple):
    """What the names of a knowledge base lead to.

    Attributes:
        names: Different names that can be looked up; blank and very long ones are none.
        ambiguous: How many of these lead to more than one entity.
        most_ambiguous: Of these the ones with the most entities, as ``(name, entities)``.
    """

    names: int
    ambiguous: int
    most_ambiguous: tuple[tuple[str, int], ...]


def count_bearers(lookup: AliasLookup, top: int) -> Ambiguity:
    """Count the entities of every name; see :meth:`KnowledgeBase.ambiguity`."""
    bearers = np.diff(lookup.starts)
    several = np.flatnonzero(bearers > 1)
    first = several[np.argsort(-bearers[several], kind="stable")][:top]
    shown = tuple((lookup.trie.restore_key(int(key)), int(bearers[key])) for key in first)
    return Ambiguity(len(bearers), len(several), shown)
