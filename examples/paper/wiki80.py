"""Wiki80: which of 80 relations a sentence states; and the linked sentences of Wiki20m, which have the same format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from examples.paper.marking import HEAD, TAIL, Span, mark_words
from examples.paper.sources import (
    DataError,
    Row,
    Source,
    entity_id,
    label_number,
    read_labels,
    read_records,
    take,
)

LABEL_FILES = ("rel2id.json", "wiki80_rel2id.json")
_FILES = {"dev": ("dev.txt", "val.txt", "wiki80_val.txt"), "train": ("train.txt", "wiki80_train.txt")}


def read_wiki80(source: Source, split: str, labels: Mapping[str, int] | None = None) -> list[Row]:
    """Read a split of Wiki80.

    Args:
        source: A folder with ``train.txt``, ``dev.txt``, ``test.txt`` (a JSON object a line: ``token``, ``h`` and
            ``t`` with ``id`` and ``pos``, ``relation``) and ``rel2id.json``; or a dataset of these columns.
        split: ``"train"``, ``"dev"`` or ``"test"``.
        labels: The number of each relation, for a dataset.

    Raises:
        DataError: Something else stands there. The message names file and line.
    """
    labels = read_labels(source, LABEL_FILES, labels)
    rows: list[Row] = []
    for where, record in read_records(source, split, _FILES.get(split, (f"{split}.txt",))):
        text, mentions = mark_words(take(record, "token", list, where), _spans(record, where), where)
        label = label_number(take(record, "relation", (str, int), where), labels, where)
        rows.append({"text": text, "label": label, "mentions": mentions})
    return rows


def read_sentences(path: str | Path, limit: int | None = None) -> list[dict[str, Any]]:
    """Read sentences with linked mentions for general map-tuning: ``wiki20m_train.txt`` and the like, without markers.

    Returns:
        Rows with ``text`` and ``mentions``.
    """
    path = Path(path)
    records: Iterable[tuple[str, Mapping[str, Any]]] = read_records(path.parent, "", (path.name,))
    rows = []
    for where, record in islice(records, limit):
        words = take(record, "token", list, where)
        text, mentions = mark_words(words, _spans(record, where), where, markers=False)
        rows.append({"text": text, "mentions": mentions})
    return rows


def _spans(record: Mapping[str, Any], where: str) -> Sequence[Span]:
    return [_span(take(record, name, Mapping, where), marker, where) for name, marker in (("h", HEAD), ("t", TAIL))]


def _span(mention: Mapping[str, Any], marker: str, where: str) -> Span:
    place = take(mention, "pos", list, where)
    if len(place) != 2 or not all(isinstance(number, int) for number in place):
        raise DataError(f"{where}: expected 'pos' to be [first word, one past the last], found {place!r:.80}.")
    return Span(place[0], place[1], entity_id(take(mention, "id", str, where), where), marker)
