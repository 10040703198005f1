"""How many names a knowledge base has, how many of them are ambiguous, and how many are never linked."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.knowledge_base.normalization import normalize_column, strip_column
from knowledge_plugin.linking.dictionary import DictionaryLinker


@dataclass(frozen=True)
class AliasStatistics:
    """What is known of the names of a knowledge base, as one linker sees them.

    Attributes:
        aliases: Names that differ under the linker's case policy.
        ambiguous: Those that more than one entity bears.
        dropped: Those that the linker never links: stop words, and names shorter than its ``min_length``.
        most_ambiguous: The names with the most bearers, and how many these are.
    """

    aliases: int
    ambiguous: int
    dropped: int
    most_ambiguous: tuple[tuple[str, int], ...]

    @property
    def ambiguity_rate(self) -> float:
        """The share of ambiguous names among all."""
        return self.ambiguous / self.aliases if self.aliases else 0.0


def alias_statistics(
    knowledge_base: KnowledgeBase, linker: DictionaryLinker | None = None, *, top: int = 5
) -> AliasStatistics:
    """Count names, column by column: seconds for millions.

    Args:
        knowledge_base: Whose names.
        linker: Says how names are compared and which are dropped; ``None`` for the dictionary linker as it is by
            default.
        top: How many of the most ambiguous names are listed.

    Raises:
        ArtifactError: A name leads to an entity that is not there.

    Example:
        >>> from knowledge_plugin import Entity
        >>> kb = KnowledgeBase.from_entities(
        ...     [Entity("x:1", "Paris"), Entity("x:2", "Paris"), Entity("x:3", "Of")], [[0.0]] * 3, name="t")
        >>> alias_statistics(kb)
        AliasStatistics(aliases=2, ambiguous=1, dropped=1, most_ambiguous=(('paris', 2),))
    """
    if knowledge_base.config.aliases == 0:
        return AliasStatistics(0, 0, 0, ())
    linker = linker or DictionaryLinker(knowledge_base)
    found = knowledge_base.ambiguity(linker.case, top)
    dropped = _dropped(knowledge_base, linker)
    return AliasStatistics(found.names, found.ambiguous, dropped, found.most_ambiguous)


def _dropped(knowledge_base: KnowledgeBase, linker: DictionaryLinker) -> int:
    keys = strip_column(normalize_column(knowledge_base.alias_table()["alias"], linker.case))
    stopped = pc.is_in(normalize_column(keys, "insensitive"), pa.array(sorted(linker.stop_words), pa.string()))
    unfit = pc.or_(stopped, pc.less(pc.utf8_length(keys), linker.min_length))
    lookup = knowledge_base.alias_lookup(linker.case)
    return sum(bool(lookup.candidates(key)) for key in pc.unique(keys.filter(unfit)).to_pylist())
