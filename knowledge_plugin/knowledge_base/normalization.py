"""One way of writing text, so that a name in a table and a name in a sentence compare equal.

Unicode NFC always, and one width: full-width Latin letters, digits and signs, and half-width Katakana and Hangul, are
written as they are elsewhere. Lower case where the case policy is ``"insensitive"``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import partial
from typing import get_args

import pyarrow as pa
import pyarrow.compute as pc
import regex

from knowledge_plugin.config import Case
from knowledge_plugin.errors import KnowledgeBaseError, KnowledgePluginError

# What str.strip removes of ASCII.
_BLANKS = "\t\n\v\f\r\x1c\x1d\x1e\x1f "
# Full-width forms of ASCII: each is one character in either width, so that nothing moves.
_TO_ASCII = {0xFF01 + i: 0x21 + i for i in range(94)}
# Half-width Katakana and Hangul: a letter and its voicing mark become one character.
_VOICING_MARKS = "\uff9e\uff9f"  # become combining marks
_HALF_WIDTH = regex.compile("[\uff61-\uffdc]+")
_OF_A_WIDTH = regex.compile("[\uff01-\uffdc]")


def check_case(case: object, error: type[KnowledgePluginError] = KnowledgeBaseError) -> None:
    """Refuse what is no case policy: it would be taken for ``"sensitive"`` without a word.

    Args:
        case: What was given.
        error: What to raise.

    Example:
        >>> check_case("lower")
        Traceback (most recent call last):
        knowledge_plugin.errors.KnowledgeBaseError: case: expected 'insensitive' or 'sensitive', found 'lower'.
    """
    if case not in get_args(Case):
        raise error(f"case: expected 'insensitive' or 'sensitive', found {case!r:.80}.")


def normalize(text: str, case: Case) -> str:
    """Return the text in Unicode NFC and of one width, and in lower case if ``case`` is ``"insensitive"``.

    Example:
        >>> normalize("Cafe\\u0301 ＡＢＣ", "insensitive")
        'café abc'
    """
    text = text if text.isascii() else _composed(text)
    return text.lower() if case == "insensitive" else text


def _composed(text: str) -> str:
    # Not NFKC of everything: it would tear "…", "ﬁ" and "㎞" apart, and make "x²" the name "x2".
    if _OF_A_WIDTH.search(text) is not None:
        text = _HALF_WIDTH.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text.translate(_TO_ASCII))
    return unicodedata.normalize("NFC", text)


def normalize_column(texts: pa.ChunkedArray, case: Case) -> pa.ChunkedArray:
    """Return what :func:`normalize` makes of each text, and ``None`` of none.

    Example:
        >>> normalize_column(pa.chunked_array([["Paris", "\u00c9vry"]]), "insensitive").to_pylist()
        ['paris', 'évry']
    """
    rule = partial(normalize, case=case)
    lower = pc.ascii_lower if case == "insensitive" else lambda chunk: chunk
    return pa.chunked_array((_by_python(lower(chunk), chunk, rule) for chunk in texts.chunks), pa.string())


def strip_column(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return what ``str.strip`` makes of each text, and ``None`` of none."""
    return pa.chunked_array(
        (_by_python(pc.ascii_trim(chunk, _BLANKS), chunk, str.strip) for chunk in texts.chunks), pa.string()
    )


def _by_python(done: pa.Array, given: pa.Array, rule: Callable[[str], str]) -> pa.Array:
    """Put right what is not ASCII: sentences are compared by Python's rules, and Arrow's are others there."""
    other = pc.fill_null(pc.invert(pc.string_is_ascii(given)), False)
    found = [rule(text) for text in given.filter(other).to_pylist()]
    return pc.replace_with_mask(done, other, pa.array(found, pa.string())) if found else done


def normalize_with_offsets(text: str, case: Case) -> tuple[str, list[tuple[int, int]] | None]:
    """Normalise a text and say where each character came from.

    Args:
        text: Any text.
        case: As in :func:`normalize`.

    Returns:
        The normalised text, and for each of its characters the span ``(start, end)`` of the original text that it
        stands for; ``None`` instead of the spans if every character stayed where it was.

    Example:
        >>> normalize_with_offsets("Cafe\\u0301 X", "sensitive")[1]
        [(0, 1), (1, 2), (2, 3), (3, 5), (5, 6), (6, 7)]
    """
    normalized = normalize(text, case)
    if len(normalized) == len(text) and (text.isascii() or _stays(text)):
        return normalized, None
    characters: list[str] = []
    spans: list[tuple[int, int]] = []
    for start, end in _segments(text):
        piece = normalize(text[start:end], case)
        characters.append(piece)
        spans.extend([(start, end)] * len(piece))
    # Lower case can depend on the neighbours (final sigma), so take the characters of the whole where they agree.
    pieces = "".join(characters)
    return (normalized if len(normalized) == len(pieces) else pieces), spans


def _stays(text: str) -> bool:
    if _OF_A_WIDTH.search(text) is None:
        return unicodedata.is_normalized("NFC", text)
    return _HALF_WIDTH.search(text) is None and unicodedata.is_normalized("NFC", text.translate(_TO_ASCII))


def _segments(text: str) -> list[tuple[int, int]]:
    """Cut a text where normalising joins nothing across the cut."""
    cuts = [0]
    for i in range(1, len(text)):
        if not _joins(text, cuts[-1], i):
            cuts.append(i)
    return list(zip(cuts, [*cuts[1:], len(text)], strict=True)) if text else []


def _joins(text: str, start: int, i: int) -> bool:
    if text[i].isascii():
        return False
    # Asked first: a long run of marks must not cost a normalisation each.
    if unicodedata.combining(text[i]) or text[i] in _VOICING_MARKS:
        return True
    segment = text[start:i]
    return _composed(segment + text[i]) != _composed(segment) + _composed(text[i])
