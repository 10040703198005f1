"""Putting virtual tokens into an encoding, before truncation, special tokens and padding.

The tokenizers library encodes a text in two steps: the text itself, and then what surrounds it (truncation, special
tokens, padding). Virtual tokens go in between the two, so that every ordinary token, its offsets and its word number
are what they are without them, and everything after is done by the library's own code.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Encoding


@dataclass(frozen=True)
class Separator:
    """The ordinary tokens that follow a virtual token in the concat form."""

    ids: tuple[int, ...]
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class VirtualToken:
    """A virtual token to put into a text.

    Attributes:
        start: First character of the mention.
        end: One past its last character.
        token_id: The virtual id; of several, the first.
        token: What to call it.
        separator: With one, ``[entity] separator`` goes before the mention (concat); with ``None``, ``[entity]`` takes
            the place of the mention's tokens (replace).
        word: For a text that came as words: which word the mention starts in; ``start`` and ``end`` then count
            characters of that word, and ``end_word`` is the word it ends in.
        end_word: See ``word``.
        tokens: How many ids there are, one after the other.
    """

    start: int
    end: int
    token_id: int
    token: str
    separator: Separator | None
    word: int | None = None
    end_word: int | None = None
    tokens: int = 1

    @property
    def ids(self) -> range:
        """All its virtual ids."""
        return range(self.token_id, self.token_id + self.tokens)


class SplicedText:
    """A text with virtual tokens in it, and the way to the same text with fewer of them.

    Args:
        encoding: The text without special tokens around it.
        virtual: Tokens to put in, in order of the text and without overlaps.
        keep_out: As in :func:`splice`.
        type_id: As in :func:`splice`.

    Attributes:
        encoding: The text with the virtual tokens.
    """

    def __init__(
        self,
        encoding: Encoding,
        virtual: Sequence[VirtualToken] = (),
        keep_out: frozenset[int] = frozenset(),
        type_id: int = 0,
    ) -> None:
        self._plain, self._virtual, self._keep_out, self._type_id = encoding, virtual, keep_out, type_id
        self.encoding = splice(encoding, virtual, keep_out, type_id) if virtual or type_id else encoding

    def bare(self) -> SplicedText:
        """Return the text without virtual tokens."""
        return SplicedText(self._plain, (), self._keep_out, self._type_id) if self._virtual else self

    def whole(self, kept: int, side: str) -> SplicedText:
        """Return the text without entities of which truncation would leave a part, or all but not their mention.

        Args:
            kept: How many tokens of the spliced text are left.
            side: Where it is cut: ``"right"`` or ``"left"``.

        Returns:
            This very text, if nothing is to be left out.
        """
        cut = kept if side == "right" else len(self.encoding) - kept
        severed, shift = [], 0
        for item, first, last in _places(self._virtual, self._plain, self._keep_out):
            if item.separator is None:  # it is the mention itself
                start, length = first + shift, item.tokens
                shift += length - (last - first)
                if start < cut < start + length:  # of several tokens
                    severed.append(item)
                continue
            start, length = first + shift, item.tokens + len(item.separator.ids)
            shift += length
            if start < cut < start + length or (side == "right" and cut == start + length):
                severed.append(item)
        if not severed:
            return self
        left = [item for item in self._virtual if item not in severed]
        return SplicedText(self._plain, left, self._keep_out, self._type_id)


def splice(
    encoding: Encoding,
    virtual: Sequence[VirtualToken],
    keep_out: frozenset[int] = frozenset(),
    type_id: int = 0,
) -> Encoding:
    """Return an encoding with virtual tokens in it.

    Args:
        encoding: A text without special tokens around it.
        virtual: Tokens to put in, in order of the text and without overlaps.
        keep_out: Ids of tokens such as ``[MASK]`` that are written in the text itself and are no mentions.
        type_id: Token type of the text: 0, or 1 for the second of a pair.

    Returns:
        A new encoding. Inserted tokens belong to no word, are special tokens by the mask, and span no characters; a
        token that replaces a mention has the mention's word and span.
    """
    state: dict[str, list] = {
        "ids": list(encoding.ids),
        "type_ids": [type_id] * len(encoding.ids),
        "tokens": list(encoding.tokens),
        "words": list(encoding.word_ids),
        "offsets": [list(span) for span in encoding.offsets],
        "special_tokens_mask": list(encoding.special_tokens_mask),
        "attention_mask": list(encoding.attention_mask),
    }
    for item, first, last in reversed(_places(virtual, encoding, keep_out)):
        if item.separator is None:
            # A byte-level token begins with the blank before it; the mention does not.
            span = [max(encoding.offsets[first][0], item.start), encoding.offsets[last - 1][1]]
            piece = [(token_id, item.token, encoding.word_ids[first], span, 0) for token_id in item.ids]
        else:
            span = [encoding.offsets[first][0]] * 2
            parts = [
                *((token_id, item.token) for token_id in item.ids),
                *zip(item.separator.ids, item.separator.tokens, strict=True),
            ]
            piece = [(token_id, token, None, span, 1) for token_id, token in parts]
        cut = slice(first, last)
        for key, column in zip(
            ("ids", "tokens", "words", "offsets", "special_tokens_mask"), zip(*piece, strict=True), strict=True
        ):
            state[key][cut] = column
        state["type_ids"][cut] = [type_id] * len(piece)
        state["attention_mask"][cut] = [1] * len(piece)
    spliced = Encoding()
    # Pickle's own format is the one way that the library offers to make an encoding from its parts.
    spliced.__setstate__(json.dumps(state | {"overflowing": [], "sequence_ranges": {}}).encode())
    return spliced


def mark_inserted(encoding: Encoding) -> None:
    """Mark inserted tokens as special again; post-processors take whatever is not theirs for text.

    Pipelines skip special tokens, and so never show an entity as a word of the text.
    """
    if any(
        word is None and not mask for word, mask in zip(encoding.word_ids, encoding.special_tokens_mask, strict=True)
    ):
        state = json.loads(encoding.__getstate__())
        for part in (state, *state["overflowing"]):
            # Only what is no word of the text has no number.
            marks = zip(part["words"], part["special_tokens_mask"], strict=True)
            part["special_tokens_mask"] = [1 if word is None else mask for word, mask in marks]
        encoding.__setstate__(json.dumps(state).encode())


def _places(
    virtual: Sequence[VirtualToken], encoding: Encoding, keep_out: frozenset[int]
) -> list[tuple[VirtualToken, int, int]]:
    """Return where virtual tokens go: in place of the tokens ``[first, last)``, an empty range in the concat form."""
    places = []
    for item in virtual:
        first, last = _tokens_of(item, encoding)
        if first >= last or keep_out & set(encoding.ids[first:last]):
            continue
        if item.separator is not None:
            first = last = _before_blank(first, encoding)
        places.append((item, first, last))
    return places


def _before_blank(first: int, encoding: Encoding) -> int:
    """Step back over a token that is nothing but the blank before a word: the blank belongs to the mention."""
    tokens, words = encoding.tokens, encoding.word_ids
    while first > 0 and not tokens[first - 1].strip("Ġ▁") and words[first - 1] == words[first]:
        first -= 1
    return first


def _tokens_of(item: VirtualToken, encoding: Encoding) -> tuple[int, int]:
    """Return the range of tokens that overlap a mention; empty if there is none."""
    if item.word is None:
        # Tokens are in order of the text, so both edges can be searched for.
        first = bisect_right(encoding.offsets, item.start, key=lambda span: span[1])
        last = first
        while last < len(encoding.ids) and encoding.offsets[last][0] < item.end:
            last += 1
        return first, last
    begin, stop = (item.word, item.start), (item.end_word, item.end)
    inside = [
        i
        for i, (word, (start, end)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True))
        if word is not None and (word, end) > begin and (word, start) < stop
    ]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)
