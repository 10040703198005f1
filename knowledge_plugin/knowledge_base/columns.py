"""Entities as columns: one table of ids, labels, other names and the like, for millions of them at once.

What an :class:`Entity` promises of itself is checked here of all rows together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.knowledge_base.entity import Entity
from knowledge_plugin.knowledge_base.normalization import strip_column

COLUMNS = {
    "id": pa.string(),
    "label": pa.string(),
    "aliases": pa.list_(pa.string()),
    "description": pa.string(),
    "types": pa.list_(pa.string()),
    "popularity": pa.float64(),
}
REQUIRED = ("id", "label")


def to_columns(entities: Sequence[Entity]) -> pa.Table:
    """Return entities as a table with all columns."""
    return pa.table(
        {name: pa.array([getattr(entity, name) for entity in entities], kind) for name, kind in COLUMNS.items()}
    )


def checked_columns(table: pa.Table) -> pa.Table:
    """Return a table of strangers as one with all columns, each of its type and every value as it should be.

    Args:
        table: ``id`` and ``label``, and any of ``aliases``, ``description``, ``types`` and ``popularity``. A missing
            value is none; the text types of Arrow (large, as a view, as a dictionary) are all welcome.

    Raises:
        KnowledgeBaseError: A column is missing, unknown, there twice, or of another type; or a row, which the error
            names, has a blank id, an id with NUL, no label, an alias that is none, or a popularity that is negative or
            not a number.
    """
    if not isinstance(table, pa.Table):
        raise KnowledgeBaseError(
            f"entities: expected a pyarrow.Table, found {type(table).__name__}. Type: pa.Table.from_pandas(frame) for "
            "a data frame, or from_entities for a list of Entity."
        )
    names = table.column_names
    wrong = [name for name in REQUIRED if name not in names] or [name for name in names if name not in COLUMNS]
    if wrong or len(set(names)) != len(names):
        raise KnowledgeBaseError(
            f"entities: expected the columns id and label, and of aliases, description, types and popularity those "
            f"that are there, each once; found {names}. Type: table.rename_columns([...]) or table.select([...])"
        )
    columns = {name: _column(table, name, kind) for name, kind in COLUMNS.items()}
    _refuse(columns["id"], pc.is_null(columns["id"]), "id", "a text")
    blank = pc.equal(strip_column(columns["id"]), "")
    _refuse(columns["id"], pc.or_(blank, pc.match_substring(columns["id"], "\0")), "id", "a text, not blank, no NUL")
    _refuse(columns["label"], pc.is_null(columns["label"]), "label", "a text")
    for name in ("aliases", "types"):
        if any(chunk.flatten().null_count for chunk in columns[name].chunks):
            raise KnowledgeBaseError(f"entities: {name}: expected lists of texts, found a list that holds no text.")
    popularity = columns["popularity"]
    unfit = pc.fill_null(pc.invert(pc.and_(pc.greater_equal(popularity, 0), pc.is_finite(popularity))), False)
    _refuse(popularity, unfit, "popularity", "a number from 0 up")
    return pa.table(columns)


def popularity_order(table: pa.Table) -> np.ndarray | None:
    """Return the rows, the most popular first and of equal ones the first, or ``None`` if they stand so already."""
    popularity = numbers(pc.fill_null(table["popularity"], 0.0))
    if bool((popularity[1:] <= popularity[:-1]).all()):
        return None
    return np.argsort(-popularity, kind="stable")


def weights(table: pa.Table) -> np.ndarray:
    """Return float64 ``[rows]``, one more than each popularity: so that entities without one share evenly."""
    return 1 + numbers(pc.fill_null(table["popularity"], 0.0))


def flat_names(table: pa.Table) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Return label and aliases of all entities one after the other, and the row of each, in row order."""
    texts, rows = list(table["label"].chunks), [np.arange(table.num_rows)]
    start = 0
    for chunk in table["aliases"].chunks:
        texts.append(chunk.flatten())
        rows.append(start + np.from_dlpack(pc.list_parent_indices(chunk)).astype(np.int64))
        start += len(chunk)
    row = np.concatenate(rows)
    order = np.argsort(row, kind="stable")
    names = pa.chunked_array(texts, pa.string())
    return (names, row) if len(row) == table.num_rows else (names.take(pa.array(order)), row[order])


def nameless(table: pa.Table) -> np.ndarray:
    """Return the rows of entities whose label and aliases are all blank."""
    names, row = flat_names(table)
    named = np.bincount(row[mask(pc.not_equal(strip_column(names), ""))], minlength=table.num_rows)
    return np.flatnonzero(named == 0)


def codes(texts: pa.ChunkedArray) -> np.ndarray:
    """Return int64 ``[n]``: a number for each text, the same for the same text."""
    chunks = texts.dictionary_encode().chunks
    return numbers(pa.chunked_array([chunk.indices for chunk in chunks], pa.int32()))


# Arrow's own way to numpy would import pandas.


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of numbers, none missing, as float64 or int64 ``[n]``."""
    dtype = np.float64 if pa.types.is_floating(column.type) else np.int64
    return np.concatenate([np.zeros(0, dtype), *(np.from_dlpack(chunk) for chunk in column.chunks)], dtype=dtype)


def mask(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of truth values, none missing, as bool ``[n]``."""
    return numbers(column.cast(pa.int8())).astype(bool)


def _column(table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, kind)])
    column = table[name]
    fits = _is_number(column.type) if name == "popularity" else _is_text(column.type, pa.types.is_list(kind))
    if not fits and not pa.types.is_null(column.type):
        raise KnowledgeBaseError(f"entities: column {name!r}: expected {kind}, found {column.type}.")
    try:
        column = column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise KnowledgeBaseError(f"entities: column {name!r}: expected {kind}, found {column.type}: {error}") from error
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise KnowledgeBaseError(f"entities: column {name!r} is damaged: {error}") from error
    return column


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_text(kind: pa.DataType, is_list: bool) -> bool:
    if is_list:
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        return listed and (_is_text(kind.value_type, False) or pa.types.is_null(kind.value_type))
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _refuse(column: pa.ChunkedArray, unfit: pa.ChunkedArray, name: str, expected: str) -> None:
    if (row := pc.index(unfit, True).as_py()) >= 0:
        raise KnowledgeBaseError(
            f"entities: row {row}: {name}: expected {expected}, found {column[row].as_py()!r:.200}; "
            f"{pc.sum(unfit).as_py()} such rows in all."
        )
