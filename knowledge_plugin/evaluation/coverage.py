"""How much of a knowledge base text can lead to."""

from __future__ import annotations

from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.knowledge_base.lookup import alias_key
from knowledge_plugin.linking import DictionaryLinker


def count_unlinkable(knowledge_base: KnowledgeBase) -> int:
    """Count the entities that the dictionary linker, as it is by default, will not link by any of their names.

    These are entities called by function words, single characters or very long texts alone, and those without a name.
    All names are read: seconds for millions. An entity that shares its names with more popular ones is not counted.

    Raises:
        ArtifactError: A name leads to an entity that is not there.

    Example:
        >>> from knowledge_plugin import Entity, KnowledgeBase
        >>> kb = KnowledgeBase.from_entities([Entity("x:of", "Of"), Entity("x:york", "York")], [[0.0], [1.0]], name="t")
        >>> count_unlinkable(kb)
        1
    """
    if knowledge_base.config.aliases == 0:
        return len(knowledge_base)
    linker = DictionaryLinker(knowledge_base)
    linkable = bytearray(len(knowledge_base))
    for name, row, _ in knowledge_base.names():
        if not linkable[row]:
            key = alias_key(name, linker.case)
            linkable[row] = key is not None and linker.accepts(key)
    return len(linkable) - sum(linkable)
