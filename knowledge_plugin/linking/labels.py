"""Labels, the kinds of names that a pipeline or a model tells apart."""

from __future__ import annotations

from collections.abc import Iterable

from knowledge_plugin.errors import LinkingError


def check_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the labels; a single text, of which every letter would be one, is refused.

    Raises:
        LinkingError: Not a list of texts, or an empty one, with which nothing could ever be linked.

    Example:
        >>> check_labels(["city", "river"])
        ('city', 'river')
    """
    listed = tuple(labels) if isinstance(labels, Iterable) and not isinstance(labels, (str, bytes)) else ()
    if not listed or not all(isinstance(label, str) for label in listed):
        hint = f" Type: labels=[{labels!r:.80}]" if isinstance(labels, str) else ""
        raise LinkingError(f"labels: expected a list of at least one text, found {labels!r:.80}.{hint}")
    return listed
