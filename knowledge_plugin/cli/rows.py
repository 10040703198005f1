"""Rows to learn from or to measure by, from files: ``--data``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from sys import intern
from typing import Any

from knowledge_plugin.building.readers.tables import csv_rows, parse_object
from knowledge_plugin.building.readers.text import read_lines
from knowledge_plugin.errors import ReaderError

FIELDS = ("text", "text_pair", "label", "labels", "mentions", "triples")

_TEXTS = ("text", "text_pair")
# In a table these are JSON in a cell; of an empty one, this is meant.
_LISTS: dict[str, list | None] = {"mentions": [], "triples": None}
_EXAMPLES = {"mentions": '[[0, 4, "geo:york"]]', "triples": '[["geo:york", "lies in", "England"]]'}
_TABLES = (".csv", ".tsv")
# "007" is none of them: whoever writes so means a text.
_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_TRUE_OR_FALSE = {"true": True, "false": False}
_MISSING = {"", "nan", "na", "n/a", "#n/a", "null", "none"}


def read_rows(path: Path, columns: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file, or of a table ``*.csv`` or ``*.tsv``.

    A text is a text whatever it looks like. Of a table, ``mentions`` and ``triples`` are JSON in a cell, and what has
    numbers alone in a column (or true and false) is such, with ``None`` for a cell that is empty or says ``NaN``. Case
    and blanks around names of columns do not matter.

    Args:
        path: The file, packed or not.
        columns: What the file calls a field, where that is not the field's own name: ``{"text": "sentence"}``.

    Raises:
        ReaderError: With file and line: it is neither, or a row has no ``text``.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "rows.csv")
        >>> _ = path.write_text('text;label\\n007;1\\nIn York.;0', encoding="utf-8")
        >>> read_rows(path)
        [{'text': '007', 'label': 1}, {'text': 'In York.', 'label': 0}]
    """
    if unknown := sorted(set(columns or {}) - set(FIELDS)):
        raise ReaderError(f"--column: expected some of {', '.join(FIELDS)}, found {', '.join(unknown)[:200]}.")
    is_table = path.with_suffix("" if path.suffix.lower() in (".gz", ".bz2") else path.suffix).suffix in _TABLES
    rows = _of_table(path, columns or {}) if is_table else list(_of_lines(path, columns or {}))
    if not rows:
        raise ReaderError(f"{path}: expected rows with 'text' and 'label', found none.")
    return rows


# ---- JSON Lines ------------------------------------------------------------------------------------------------------


def _of_lines(path: Path, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    known: dict[tuple[str, ...], dict[str, str]] = {}
    for number, line in read_lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            values = parse_object(where, line)
        except ReaderError as error:
            raise ReaderError(f"{error} Expected JSON Lines, or a table in a file *.csv or *.tsv.") from None
        keys = tuple(values)
        if (field_of := known.get(keys)) is None:
            field_of = _fields(where, keys, columns)
            if len(known) < 1000:  # rows of one file have few sets of keys; those of an attacker do not
                known[keys] = field_of
        row = {field_of[key]: value for key, value in values.items() if key in field_of}
        _check_texts(where, row)
        yield row


# ---- tables ----------------------------------------------------------------------------------------------------------


def _of_table(path: Path, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    def match(where: str, header: Iterable[str]) -> dict[str, str]:
        return {field: name for name, field in _fields(where, header, columns).items()}

    rows: list[dict[str, Any]] = []
    for line, cells in csv_rows(path, match):
        row: dict[str, Any] = dict(cells)
        for field in _LISTS.keys() & row.keys():
            row[field] = _list(f"{path}:{line}", field, row[field])
        rows.append(row)
    for field in rows[0] if rows else ():
        if field not in _TEXTS and field not in _LISTS:
            for row, value in zip(rows, _typed([row[field] for row in rows]), strict=True):
                row[field] = value
    return rows


def _list(where: str, field: str, cell: str) -> list | None:
    if not cell.strip():
        return _LISTS[field]
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise ReaderError(f"{where}: {field}: expected JSON such as {_EXAMPLES[field]}, found {cell!r:.80}.")
    return found


def _typed(cells: list[str]) -> list[Any]:
    """Return numbers, or true and false, if a column has nothing else; and else the texts as they are."""
    bare = [cell.strip() for cell in cells]
    given = [cell for cell in bare if cell.lower() not in _MISSING]
    read: Any
    if all(map(_WHOLE.fullmatch, given)):
        read = int
    elif all(map(_NUMBER.fullmatch, given)):
        read = float
    elif all(cell.lower() in _TRUE_OR_FALSE for cell in given):
        read = lambda cell: _TRUE_OR_FALSE[cell.lower()]  # noqa: E731
    else:
        return cells
    return [None if cell.lower() in _MISSING else read(cell) for cell in bare]


# ---- both ------------------------------------------------------------------------------------------------------------


def _fields(where: str, names: Iterable[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Return what each column of a file is called here; all are kept, for what a method of another package reads."""
    names = list(names)
    places: dict[str, list[str]] = {}
    for name in names:
        places.setdefault(name.strip().lower(), []).append(name)
    field_of = {name: intern(name) for name in names if name.strip().lower() not in FIELDS}
    for field, theirs in ({field: field for field in FIELDS} | dict(columns)).items():
        found = places.get(theirs.strip().lower(), [])
        if len(found) > 1:
            raise ReaderError(f"{where}: expected one column {theirs!r:.80}, found {len(found)}.")
        if found:
            field_of[found[0]] = field
        elif field in columns or field == "text":
            shown = ", ".join(map(repr, names[:30])) or "none"
            raise ReaderError(
                f"{where}: expected rows with {theirs!r:.80} and 'label', found the columns {shown:.500}. Say which "
                f"column it is: --column {field}=..."
            )
    return field_of


def _check_texts(where: str, row: Mapping[str, Any]) -> None:
    for name in _TEXTS:
        if name in row and not isinstance(row[name], str):
            raise ReaderError(f"{where}: {name}: expected a text, found {row[name]!r:.80}.")
