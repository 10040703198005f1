"""What a triple is: three texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from knowledge_plugin.errors import KnowledgePluginError


def checked_triples(
    triples: Iterable[tuple[str, str, str]], error: type[KnowledgePluginError]
) -> Iterator[tuple[str, str, str]]:
    """Yield triples (head, relation, tail) as tuples; of what is none, raise an error of the caller's kind.

    Example:
        >>> from knowledge_plugin.errors import KnowledgeBaseError
        >>> list(checked_triples([["x:graz", "in", "x:styria"]], KnowledgeBaseError))
        [('x:graz', 'in', 'x:styria')]
    """
    for triple in triples:
        is_triple = isinstance(triple, (tuple, list)) and len(triple) == 3
        if not is_triple or not all(isinstance(part, str) for part in triple):
            raise error(f"expected triples of three texts, found {triple!r:.200}.")
        head, relation, tail = triple
        yield head, relation, tail
