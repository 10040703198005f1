"""Records of a published file, or of a ``datasets`` dataset, each with words for where it stands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from knowledge_plugin import Mention

# A folder, a DatasetDict, or rows: a Dataset, or a list of dictionaries.
Source = str | Path | Mapping[str, Iterable[Mapping[str, Any]]] | Iterable[Mapping[str, Any]]
ID_SCHEME = "wikidata"


class Row(TypedDict):
    """What readers make: a text with the paper's markers, the spans of its entities, and what is to be answered."""

    text: str
    label: Any
    mentions: list[Mention]


class DataError(ValueError):
    """A file or a dataset is not in the published format."""


def read_records(source: Source, split: str, names: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield where each record stands, and the record.

    Args:
        source: A folder that holds one of ``names`` as JSON lines, a DatasetDict that has ``split``, or rows.
        split: ``"train"``, ``"dev"`` or ``"test"``.
        names: File names that the split goes by.

    Raises:
        DataError: There is no such file or split, or a line is no JSON object.
    """
    if isinstance(source, (str, Path)):
        yield from _json_lines(find_file(source, names))
        return
    for number, record in enumerate(rows_of(source, split)):
        where = f"row {number} of the dataset"
        yield where, expect(record, Mapping, where, "a row with named columns")


def rows_of(source: Any, split: str) -> Iterable[Any]:
    """Return the rows of a split of a DatasetDict; anything else is rows already."""
    if not isinstance(source, Mapping):
        return source
    if split not in source:
        raise DataError(f"the dataset has the splits {', '.join(map(str, source))}; expected {split!r}.")
    return source[split]


def find_file(folder: str | Path, names: Sequence[str]) -> Path:
    """Return the first file of these names in a folder."""
    found = next((path for name in names if (path := Path(folder) / name).is_file()), None)
    if found is None:
        raise DataError(
            f"{folder}: expected a file {' or '.join(names)}, found none. Where the data comes from: README.md"
        )
    return found


def read_json(path: Path) -> Any:
    """Read a whole JSON file.

    Raises:
        DataError: It is none; the message names the line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: no JSON: {error.msg}") from error


def _json_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{where}: no JSON: {error.msg}") from error
            yield where, expect(record, Mapping, where, "a JSON object")


def expect(value: Any, kind: Any, where: str, what: str) -> Any:
    """Return a value if it is of a kind.

    Raises:
        DataError: It is not.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{where}: expected {what}, found {value!r:.80}.")
    return value


def take(record: Mapping[str, Any], name: str, kind: Any, where: str) -> Any:
    """Return a field of a record if it is there and of a kind."""
    if name not in record:
        raise DataError(f"{where}: expected the field {name!r}, found {', '.join(map(str, record)):.200}.")
    return expect(record[name], kind, where, f"{name!r} to be {_in_words(kind)}")


def read_labels(source: Source, names: Sequence[str], labels: Mapping[str, int] | None) -> Mapping[str, int]:
    """Return the number of each label: those given, or those of a JSON file in the folder.

    Raises:
        DataError: Neither is there, or they are not numbered from 0.
    """
    where = "labels"
    if labels is None:
        if not isinstance(source, (str, Path)):
            raise DataError("a dataset does not say which number a label has. Type: labels={'located in': 0, ...}")
        path = find_file(source, names)
        labels, where = read_json(path), str(path)
    if not isinstance(labels, Mapping) or sorted(labels.values()) != list(range(len(labels))):
        raise DataError(f"{where}: expected an object of names and numbers from 0 up, found {labels!r:.80}.")
    return labels


def label_number(value: Any, labels: Mapping[str, int], where: str) -> int:
    """Return the number of a label, which a dataset may give as a number already."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(labels):
        return value
    if not isinstance(value, str) or value not in labels:
        raise DataError(f"{where}: the label {value!r:.80} is none of the {len(labels)}.")
    return labels[value]


def entity_id(value: Any, where: str) -> str:
    """Return the id of a Wikidata item in the scheme of the knowledge base."""
    return f"{ID_SCHEME}:{expect(value, str, where, 'the id of an entity, such as Q42')}"


def _in_words(kind: Any) -> str:
    words = {str: "a text", int: "a whole number", list: "a list", Mapping: "an object"}
    return " or ".join(words.get(one, one.__name__) for one in (kind if isinstance(kind, tuple) else (kind,)))
