"""Mentions, what a linker is, and which of two overlapping mentions wins."""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from knowledge_plugin.errors import LinkingError, MentionError


class Mention(NamedTuple):
    """A span of a text that names an entity.

    Attributes:
        start: First character.
        end: One past the last character.
        entity_id: The entity's id in the knowledge base.
        score: How sure the linker is, from 0 to 1.

    Example:
        >>> Mention(0, 6, "geonames:2950159").score
        1.0
    """

    start: int
    end: int
    entity_id: str
    score: float = 1.0


class Linker(Protocol):
    """Anything that finds mentions: called with a list of texts, it gives the mentions of each.

    A function will do, also one that yields.

    Example:
        >>> def linker(texts):
        ...     for text in texts:
        ...         yield [Mention(0, 5, "geo:paris")] if text.startswith("Paris") else []
        >>> link(linker, ["Paris again", "the river"])
        [[Mention(start=0, end=5, entity_id='geo:paris', score=1.0)], []]
    """

    def __call__(self, texts: list[str]) -> Iterable[Iterable[Mention]]:
        """Return the mentions of each text, in any order."""
        ...


def refuse_one_text(texts: object) -> None:
    """Refuse one text where several are expected: each of its letters would be one.

    Raises:
        LinkingError: It is one text.

    Example:
        >>> refuse_one_text("Paris")
        Traceback (most recent call last):
        knowledge_plugin.errors.LinkingError: expected a list of texts, found one text. Type: [text]
    """
    if isinstance(texts, (str, bytes)):
        raise LinkingError("expected a list of texts, found one text. Type: [text]")


def link(linker: Linker, texts: list[str], known: Callable[[str], bool] | None = None) -> list[list[Mention]]:
    """Call a linker and hold it to its contract.

    Args:
        linker: The linker.
        texts: The texts.
        known: As in :func:`check_mentions`.

    Raises:
        LinkingError: It did not give the mentions of each text; or there is one text instead of several.
        MentionError: A mention does not fit its text.
    """
    refuse_one_text(texts)
    result = linker(texts)
    if not _may_hold_mentions(result):
        raise _broken(f"expected {len(texts)}, found {type(result).__name__}")
    found: list[list[Mention]] = []
    for i, mentions in enumerate(result):
        if i == len(texts):
            raise _broken(f"expected {i}, found more")
        if not _may_hold_mentions(mentions):
            raise _broken(f"for text {i} it gave {type(mentions).__name__} ({mentions!r:.80})")
        # At once, because what yields may yield something that looks at its current text.
        found.append(check_mentions(mentions, texts[i], known))
    if len(found) < len(texts):
        raise _broken(f"expected {len(texts)}, found {len(found)}")
    return found


def _may_hold_mentions(value: object) -> bool:
    # All of these can be iterated, an empty one even without an error, and never are what was meant.
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, dict, Mention))


def _broken(how: str) -> LinkingError:
    return LinkingError(
        f"a linker gives a list of mentions for each text: {how}. "
        "Type: return [[Mention(start, end, entity_id), ...] for text in texts]"
    )


def in_rows(mentions: Iterable | Mapping) -> Iterable:
    """Return mentions one by one, also where a dataset gives them as columns: ``{"start": [...], "end": [...], ...}``.

    Raises:
        MentionError: The columns are of different lengths.
    """
    if not isinstance(mentions, Mapping):
        return mentions
    try:
        rows = list(zip(*mentions.values(), strict=True))
    except (TypeError, ValueError) as error:
        raise MentionError(f"mentions as columns: expected lists of one length, found {mentions!r:.200}.") from error
    return [dict(zip(mentions, row, strict=True)) for row in rows]


def check_mentions(
    mentions: Iterable[Sequence | Mapping], text: str, known: Callable[[str], bool] | None = None
) -> list[Mention]:
    """Return the mentions as :class:`Mention`, without overlaps, in order of the text.

    Args:
        mentions: Mentions; tuples or lists ``(start, end, entity_id)`` or ``(start, end, entity_id, score)``; or
            mappings of these names, as datasets give them.
        text: The text that they belong to.
        known: Whether an entity is known; the others are dropped before overlaps are settled, so that none of them
            takes the place of one that is known. ``None`` keeps all.

    Raises:
        MentionError: Not a mention, or a span outside the text or empty.
    """
    checked: list[Mention] = []
    if not isinstance(mentions, Iterable):
        raise MentionError(f"expected a list of mentions for each text, found {mentions!r:.200}.")
    for item in mentions:
        try:
            if isinstance(item, Mention):
                mention = item
            else:
                mention = Mention(**item) if isinstance(item, Mapping) else Mention(*item)
            if not (type(mention.start) is int and type(mention.end) is int):
                # Numbers of numpy come from arrays and datasets; a number with a fraction is a mistake.
                mention = mention._replace(start=operator.index(mention.start), end=operator.index(mention.end))
        except TypeError as error:
            raise MentionError(
                f"expected Mention(start, end, entity_id, score) with whole numbers, found {item!r:.200}."
            ) from error
        start, end = mention.start, mention.end
        if not isinstance(mention.entity_id, str):
            raise MentionError(f"expected the id of an entity, found {mention!r:.200}.")
        if not 0 <= start < end <= len(text):
            raise MentionError(
                f"the mention {mention!r:.200} does not fit its text of {len(text)} characters: expected "
                "0 <= start < end <= length. Spans count characters of the text as it is passed to the tokenizer."
            )
        checked.append(mention)
    return without_overlaps([m for m in checked if known is None or known(m.entity_id)])


def without_overlaps(mentions: list[Mention]) -> list[Mention]:
    """Drop mentions that overlap a longer one; of equal lengths, the one that comes first in the text stays.

    Example:
        >>> kept = without_overlaps([Mention(0, 8, "x:york"), Mention(4, 14, "x:press"), Mention(0, 3, "x:new")])
        >>> [mention.entity_id for mention in kept]
        ['x:new', 'x:press']
    """
    if len(mentions) < 2:
        return mentions
    kept: list[Mention] = []
    starts: list[int] = []
    for mention in sorted(mentions, key=lambda m: (m.start - m.end, m.start)):
        i = bisect_left(starts, mention.end)
        # Kept spans do not overlap, so only the last one that starts before this one ends can be in the way.
        if i == 0 or kept[i - 1].end <= mention.start:
            kept.insert(i, mention)
            starts.insert(i, mention.start)
    return kept
