"""How good a linker is, measured on texts whose mentions people have marked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from knowledge_plugin.errors import LinkingError, MentionError
from knowledge_plugin.linking.mention import Linker, Mention, check_mentions, link

_LINE = '{"text": "In York.", "mentions": [{"start": 3, "end": 7, "entity_id": "geo:york"}]}'
_BATCH = 256


class GoldText(NamedTuple):
    """A text and its mentions as people have marked them; they do not overlap."""

    text: str
    mentions: list[Mention]


class Agreement(NamedTuple):
    """How what was found agrees with what is there.

    Attributes:
        found: How many the linker found.
        gold: How many there are.
        right: How many of those found are there.
    """

    found: int
    gold: int
    right: int

    @property
    def precision(self) -> float:
        """The share of what was found that is right; 0 if nothing was found."""
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """The share of what is there that was found."""
        return self.right / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.right / (self.found + self.gold) if self.found + self.gold else 0.0


@dataclass(frozen=True)
class LinkingQuality:
    """What :func:`score_linker` measured, over all texts together.

    Attributes:
        texts: How many texts.
        spans: Mentions with the right start and end, whatever they were taken for.
        entities: Mentions with the right start, end and entity.
    """

    texts: int
    spans: Agreement
    entities: Agreement


def score_linker(linker: Linker, gold: Iterable[GoldText]) -> LinkingQuality:
    """Compare what a linker finds with what people have marked: precision, recall and F1 of spans and of entities.

    All mentions count alike (micro average). A span counts if it is exactly that of the gold mention.

    Args:
        linker: Any linker.
        gold: Marked texts, such as :func:`read_gold` reads.

    Raises:
        LinkingError: There is no marked mention, so that nothing can be measured; or the linker broke its contract.
        MentionError: A mention does not fit its text.

    Example:
        >>> gold = [GoldText("York, not Paris", [Mention(0, 4, "geo:york"), Mention(10, 15, "geo:paris")])]
        >>> quality = score_linker(lambda texts: [[Mention(0, 4, "geo:new-york")] for _ in texts], gold)
        >>> quality.spans.precision, quality.spans.recall, quality.entities.f1
        (1.0, 0.5, 0.0)
    """
    rows, texts = iter(gold), 0
    spans = entities = Agreement(0, 0, 0)
    while batch := list(islice(rows, _BATCH)):
        texts += len(batch)
        for row, found in zip(batch, link(linker, [row.text for row in batch]), strict=True):
            marked = check_mentions(row.mentions, row.text)
            spans = _added(spans, {m[:2] for m in found}, {m[:2] for m in marked})
            entities = _added(entities, {m[:3] for m in found}, {m[:3] for m in marked})
    if spans.gold == 0:
        raise LinkingError(f"nothing to measure by: {texts} texts without a marked mention. Expected such as {_LINE}")
    return LinkingQuality(texts, spans, entities)


def _added(so_far: Agreement, found: set, gold: set) -> Agreement:
    return Agreement(so_far.found + len(found), so_far.gold + len(gold), so_far.right + len(found & gold))


def read_gold(path: str | Path) -> list[GoldText]:
    """Read marked texts from JSON Lines: ``{"text": ..., "mentions": [{"start", "end", "entity_id"}, ...]}``.

    ``start`` and ``end`` count characters (code points) of the text. Blank lines are passed over; other keys may stand
    there and are not read.

    Raises:
        LinkingError: The file cannot be read, or a line, which the error names, is not of that form.
    """
    rows: list[GoldText] = []
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    # A byte-order mark may stand before the first line.
                    if text := line.decode("utf-8-sig" if number == 1 else "utf-8").strip():
                        rows.append(_gold_text(json.loads(text)))
                except (ValueError, RecursionError, MentionError) as error:
                    raise LinkingError(f"{path}, line {number}: {error} Expected such as {_LINE}") from error
    except OSError as error:
        raise LinkingError(f"{path}: cannot be read: {error.strerror or error}") from error
    return rows


def _gold_text(row: object) -> GoldText:
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not isinstance(row.get("mentions"), list):
        raise MentionError(f"expected an object with a text and a list of mentions, found {row!r:.200}.")
    kept = [{k: m[k] for k in Mention._fields if k in m} if isinstance(m, dict) else m for m in row["mentions"]]
    checked = check_mentions(kept, row["text"])
    if len(checked) != len(kept):
        raise MentionError("two of its mentions overlap.")
    return GoldText(row["text"], checked)
