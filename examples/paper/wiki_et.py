"""Wiki-ET: which of 68 types, several at once, the entity of a sentence has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from examples.paper.marking import TAIL, Span, mark
from examples.paper.sources import ID_SCHEME, DataError, Row, Source, label_number, read_labels, read_records, take


def read_wiki_et(
    source: Source,
    split: str,
    entity_ids: Mapping[int, str] | None = None,
    labels: Mapping[str, int] | None = None,
) -> list[Row]:
    """Read a split of Wiki-ET. A label is a list of 0 and 1, one for each type.

    Args:
        source: A folder with ``train.json``, ``dev.json``, ``test.json`` (a JSON object a line: ``sent``, ``start``,
            ``end``, ``id``, ``labels``) and ``label2id.json``; or a dataset of these columns.
        split: ``"train"``, ``"dev"`` or ``"test"``.
        entity_ids: The files name an entity by its row in the published vectors; here, the id of each such row. A row
            that is not among them has no entity. See :func:`read_entity_rows`.
        labels: The number of each type, for a dataset.

    Raises:
        DataError: Something else stands there. The message names file and line.
    """
    labels = read_labels(source, ("label2id.json",), labels)
    rows: list[Row] = []
    for where, record in read_records(source, split, (f"{split}.json",)):
        number = take(record, "id", (str, int), where)
        if not str(number).isdecimal():
            raise DataError(f"{where}: expected 'id' to be the row of a vector, found {number!r:.80}.")
        entity = (entity_ids or {}).get(int(number))
        span = Span(take(record, "start", int, where), take(record, "end", int, where), entity, TAIL)
        text, mentions = mark(take(record, "sent", str, where), [span], where)
        label = [0] * len(labels)
        for name in take(record, "labels", list, where):
            label[label_number(name, labels, where)] = 1
        rows.append({"text": text, "label": label, "mentions": mentions})
    return rows


def read_entity_rows(path: str | Path, wanted: Sequence[int] | None = None) -> dict[int, str]:
    """Read ``entity2id.txt`` the other way round: the id of each row, perhaps of some rows alone.

    Raises:
        DataError: A line is no id and row. The message names it.
    """
    chosen = None if wanted is None else set(wanted)
    found: dict[int, str] = {}
    with open(path, encoding="utf-8") as file:
        next(file, None)  # how many there are
        for number, line in enumerate(file, 2):
            if not line.strip():
                continue
            parts = line.split()
            if len(parts) != 2 or not parts[1].isdecimal():
                raise DataError(f"{path}, line {number}: expected an id and a row, found {line.strip()!r:.80}.")
            if chosen is None or int(parts[1]) in chosen:
                found[int(parts[1])] = f"{ID_SCHEME}:{parts[0]}"
    return found
