"""The paper's markers: ``# head #`` and ``$ tail $``, and where the mentions lie once they are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from examples.paper.sources import DataError
from knowledge_plugin import Mention

HEAD, TAIL = "#", "$"


class Span(NamedTuple):
    """A part of a text that names an entity, by characters; ``entity_id=None`` if nobody knows which."""

    start: int
    end: int
    entity_id: str | None
    marker: str


def mark(text: str, spans: Sequence[Span], where: str = "") -> tuple[str, list[Mention]]:
    """Put markers around spans, and return the text and the mentions within the markers.

    An entity goes between marker and mention: ``# [entity] / head #``.

    Raises:
        DataError: A span is empty or lies outside the text.

    Example:
        >>> text, mentions = mark("Bo lives in Bari.", [Span(0, 2, "x:1", "#"), Span(12, 16, "x:2", "$")])
        >>> text, [text[m.start : m.end] for m in mentions]
        ('# Bo # lives in $ Bari $.', ['Bo', 'Bari'])
    """
    pieces: list[tuple[int, bool, int, int, str]] = []
    for i, span in enumerate(spans):
        length = span.end - span.start
        if not 0 <= span.start < span.end <= len(text):
            raise DataError(
                f"{where}: the span {span.start} to {span.end} lies not in a text of {len(text)} characters."
            )
        # At one place, what ends comes before what begins; of nested spans the inner one ends first and begins last.
        pieces += [(span.start, True, -length, i, f"{span.marker} "), (span.end, False, length, i, f" {span.marker}")]
    marked, at = "", 0
    starts, ends = {}, {}
    for place, begins, _, i, piece in sorted(pieces):
        marked, at = marked + text[at:place], place
        if begins:
            marked += piece
            starts[i] = len(marked)
        else:
            ends[i] = len(marked)
            marked += piece
    marked += text[at:]
    known = [(i, span.entity_id) for i, span in enumerate(spans) if span.entity_id is not None]
    return marked, [Mention(starts[i], ends[i], entity) for i, entity in known]


def mark_words(
    words: Sequence[str], spans: Sequence[Span], where: str, markers: bool = True
) -> tuple[str, list[Mention]]:
    """Do the same for words and spans of words; the text is the words with a blank between.

    Args:
        words: The words.
        spans: Spans by words.
        where: Named by errors.
        markers: Whether markers are put in; mentions come either way.
    """
    if not all(isinstance(word, str) for word in words):
        raise DataError(f"{where}: expected words, found {words!r:.80}.")
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    by_characters = []
    for span in spans:
        if not 0 <= span.start < span.end <= len(words):
            raise DataError(f"{where}: the span {span.start} to {span.end} lies not in {len(words)} words.")
        by_characters.append(span._replace(start=starts[span.start], end=starts[span.end] - 1))
    text = " ".join(words)
    if markers:
        return mark(text, by_characters, where)
    return text, [Mention(s.start, s.end, s.entity_id) for s in by_characters if s.entity_id is not None]
