"""Entity tables: CSV, JSON lines and Parquet with the columns id, label, aliases, description, types, popularity."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knowledge_plugin.building.readers.entity_rows import EntityRows, match_and_warn
from knowledge_plugin.building.readers.fields import COLUMNS, match_columns
from knowledge_plugin.building.readers.slips import warn_of_unused
from knowledge_plugin.building.readers.text import read_lines
from knowledge_plugin.errors import ReaderError
from knowledge_plugin.knowledge_base.entity import Entity

# A row of a CSV file may go on over many lines, within quotes. A quote that nobody closed would take the whole file.
MAX_ROW_CHARS = 2**20
_BATCH = 1024
_SMALL_BATCH = 256
# As for our own tables: more rows than bytes can hold only come from a file that was made to harm.
_MIN_ROWS, _ROWS_PER_BYTE = 2**20, 20
_MAX_GROUP_BYTES = 2**31
_MAX_TEXT_BYTES, _MAX_ITEMS = 2**19, 2**22  # in a batch


def read_csv(
    path: str | Path,
    *,
    delimiter: str | None = None,
    separator: str = "|",
    columns: Mapping[str, str] | None = None,
    id_prefix: str = "",
    encoding: str = "utf-8",
) -> Iterator[Entity]:
    """Yield the entities of a CSV or TSV table, one at a time.

    The first line names the columns, in any order and case: id and label, and as they are there aliases,
    description, types and popularity. Other columns are left out, with a warning if one of these was not found. The
    file may be packed with gzip or bzip2.

    A cell of aliases, description or types that is nothing but a mark of missing values (``NaN``, ``nan``, ``N/A``,
    ``<NA>`` and the like; but for aliases also ``NA``, ``None`` and ``null``) is taken as empty, and a warning counts
    them; ``NaN|`` is an alias. Labels are taken as they are. Aliases with other signs than the separator between them
    stay one name each, with a warning.

    Args:
        path: The file.
        delimiter: Between cells. ``None``: whichever of tab, semicolon and comma is most frequent in the first line.
        separator: Between the items of aliases and types.
        columns: What the table calls a field: ``{"label": "city"}``.
        id_prefix: Put before every id, for example ``"wikidata:"``.
        encoding: Of the file.

    Raises:
        ReaderError: With file and line: no such column, a row with too many or too few cells, a quote that is not
            closed, a blank id, an id that was there before, a text out of bounds, a wrong encoding.
    """
    rows = EntityRows(path, separator=separator, id_prefix=id_prefix)
    for line, values in csv_rows(path, partial(match_and_warn, columns=columns), delimiter, encoding):
        yield rows.entity(line, values)
    rows.finish()


def csv_rows(
    path: str | Path,
    match: Callable[[str, Sequence[str]], dict[str, str]],
    delimiter: str | None = None,
    encoding: str = "utf-8",
    *,
    keep_ends: bool = False,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV or TSV table, each with the line that it begins in.

    Args:
        path: The file, packed or not.
        match: From a place, for messages, and the names of the columns to field and column, for the fields wanted.
        delimiter: As for :func:`read_csv`.
        encoding: Of the file.
        keep_ends: Keep line ends within cells as they are, not as ``"\\n"``.

    Raises:
        ReaderError: With file and line, what is wrong with the form; values are not looked at.
    """
    lines = _RowLines(path, encoding, keep_ends)
    header_line = lines.header()
    rows = csv.reader(lines, delimiter=delimiter or _delimiter(header_line), strict=True)
    header: list[str] | None = None
    wanted: dict[str, int] = {}
    while True:
        lines.start_row()
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            raise ReaderError(f"{path}:{lines.row_start}: {_csv_advice(error)}") from error
        where = f"{path}:{lines.row_start}"
        if header is None:
            header = row
            wanted = {field: header.index(name) for field, name in match(where, header).items()}
            continue
        if not row:
            continue
        if len(row) != len(header):
            raise ReaderError(
                f"{where}: expected {len(header)} cells as in the first line, found {len(row)}. A cell that holds "
                f'the delimiter needs "quotes".'
            )
        yield lines.row_start, {field: row[index] for field, index in wanted.items()}
    if header is None:
        raise ReaderError(f"{path}: expected a first line with the names of the columns, found an empty file.")


class _RowLines:
    """The lines of a CSV file for :func:`csv.reader`, which tells neither where a row began nor that it never ends."""

    def __init__(self, path: str | Path, encoding: str, keep_ends: bool) -> None:
        self._path = path
        self._lines = read_lines(path, encoding=encoding, keep_ends=keep_ends)
        self._end = "" if keep_ends else "\n"
        self._kept: tuple[int, str] | None = None
        self.row_start = 0
        self._chars = 0

    def header(self) -> str:
        """Look at the first line without taking it."""
        self._kept = next(self._lines, None)
        return self._kept[1] if self._kept else ""

    def start_row(self) -> None:
        """Say that the next line begins a row."""
        self.row_start = self._chars = 0

    def __iter__(self) -> _RowLines:
        return self

    def __next__(self) -> str:
        if self._kept:
            (number, line), self._kept = self._kept, None
        else:
            number, line = next(self._lines)
        self.row_start = self.row_start or number
        self._chars += len(line) + 1
        if self._chars > MAX_ROW_CHARS:
            raise ReaderError(
                f"{self._path}:{self.row_start}: expected a row of at most {MAX_ROW_CHARS:,} characters, found a "
                'longer one. Is a quote (") in this line not closed?'
            )
        return line + self._end


def _delimiter(header: str) -> str:
    return max("\t;,", key=lambda sign: (header.count(sign), sign == ","))


def _csv_advice(error: csv.Error) -> str:
    message = str(error)
    if "unexpected end" in message or "field larger" in message:
        return f'a quote (") that is opened in this row is not closed, or a cell is too long ({message}).'
    return f'{message}: within a quoted cell a quote is written twice (""), and nothing follows its end.'


def read_jsonl(
    path: str | Path,
    *,
    separator: str = "|",
    columns: Mapping[str, str] | None = None,
    id_prefix: str = "",
) -> Iterator[Entity]:
    """Yield the entities of a file of JSON objects, one on each line.

    The keys are those of :func:`read_csv`; aliases and types are lists, or texts with the separator. A key that is
    missing or ``null`` is a missing value. Arguments as in :func:`read_csv`.

    Raises:
        ReaderError: With file and line: no JSON object, no id or label, a value of the wrong kind, an id that was
            there before, a text out of bounds.
    """
    rows = EntityRows(path, separator=separator, id_prefix=id_prefix)
    matched: dict[tuple[str, ...], dict[str, str]] = {}
    names: dict[str, None] = {}
    fields_found: dict[str, str] = {}
    for number, line in read_lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        values = parse_object(where, line)
        keys = tuple(values)
        if (wanted := matched.get(keys)) is None:
            wanted = _match_object(where, keys, columns)
            if len(matched) < 1000:  # objects of one table have few sets of keys; those of an attacker do not
                matched[keys] = wanted
                names |= dict.fromkeys(keys)
                fields_found |= wanted
        yield rows.entity(number, {field: values[key] for field, key in wanted.items()})
    rows.finish()
    warn_of_unused(path, names, fields_found, COLUMNS)


def _match_object(where: str, keys: tuple[str, ...], columns: Mapping[str, str] | None) -> dict[str, str]:
    present = {key.strip().lower() for key in keys}
    renamed = {
        field: name
        for field, name in (columns or {}).items()
        if field in ("id", "label") or name.strip().lower() in present
    }
    return match_columns(where, keys, renamed)


def parse_object(where: str, line: str) -> dict[str, Any]:
    """Parse one JSON object.

    Raises:
        ReaderError: It is none; with its place.
    """
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ReaderError(f"{where}: expected a JSON object on one line: {error!s:.200}.") from None
    if not isinstance(values, dict):
        raise ReaderError(f"{where}: expected a JSON object, found {type(values).__name__}.")
    return values


def read_parquet(
    path: str | Path,
    *,
    separator: str = "|",
    columns: Mapping[str, str] | None = None,
    id_prefix: str = "",
) -> Iterator[Entity]:
    """Yield the entities of a Parquet table. Memory is a few times what a row group of the file takes unpacked.

    Columns and arguments are those of :func:`read_csv`; aliases and types are lists of texts, or texts.

    Raises:
        ReaderError: With file and row: no Parquet file, no such column, more rows than its bytes can hold, a value
            of the wrong kind, an id that was there before, a text out of bounds.
    """
    rows = EntityRows(path, "row", separator=separator, id_prefix=id_prefix)
    for number, values in parquet_rows(path, partial(match_and_warn, columns=columns)):
        yield rows.entity(number, values)
    rows.finish()


def parquet_rows(
    path: str | Path, match: Callable[[str, Sequence[str]], dict[str, str]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a Parquet table with their numbers, from 1.

    Args:
        path: The file.
        match: As for :func:`csv_rows`.

    Raises:
        ReaderError: As for :func:`read_parquet`, but that values are not looked at.
    """
    path = Path(path)
    with _as_reader_error(path), pq.ParquetFile(path) as file:
        metadata, names = file.metadata, file.schema_arrow.names
    wanted = match(str(path), names)
    texts = _check_sizes(path, metadata, set(wanted.values()))
    number = 0
    for batch in _guarded(path, _batches(path, texts, list(wanted.values()), _BATCH)):
        found = {field: _values(path, number, batch.column(name)) for field, name in wanted.items()}
        for row in range(batch.num_rows):
            number += 1
            yield number, {field: column[row] for field, column in found.items()}


def read_parquet_batches(
    path: str | Path, kinds: Mapping[str, pa.DataType], size: int
) -> Iterator[pa.RecordBatch] | None:
    """Yield batches of a Parquet table whose columns need no translation; ``None`` if they do, or it is no Parquet.

    Args:
        path: The file.
        kinds: Names of columns and what they must be. A column may be missing, but for id and label.
        size: Rows in a batch.

    Raises:
        ReaderError: As for :func:`read_parquet`, but that values are not looked at.
    """
    path = Path(path)
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return None
    with _as_reader_error(path), pq.ParquetFile(path) as file:
        metadata, schema = file.metadata, file.schema_arrow
    if not {"id", "label"} <= set(schema.names) or len(set(schema.names)) != len(schema.names):
        return None
    wanted = [name for name in schema.names if name in kinds]
    if any(schema.field(name).type != kinds[name] for name in wanted) or set(wanted) != set(
        match_columns(str(path), schema.names).values()
    ):
        return None
    match_and_warn(str(path), schema.names)
    texts = _check_sizes(path, metadata, set(wanted))
    return _guarded(path, _batches(path, texts, wanted, size))


def _guarded(path: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    while True:
        with _as_reader_error(path):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _check_sizes(path: Path, metadata: pq.FileMetaData, columns: set[str]) -> list[str]:
    """Compare what a footer declares with the size of the file, and return the paths of its columns of texts."""
    most = max(_MIN_ROWS, _ROWS_PER_BYTE * path.stat().st_size)
    if metadata.num_rows > most:
        raise ReaderError(f"{path}: expected at most {most:,} rows in a file of its size, found {metadata.num_rows:,}.")
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        chunks = [group.column(place) for place in range(group.num_columns)]
        chunks = [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns]
        size = sum(chunk.total_uncompressed_size for chunk in chunks)
        items = max(chunk.num_values for chunk in chunks)
        if size > _MAX_GROUP_BYTES or items > most:
            raise ReaderError(
                f"{path}: row group {index}: expected at most {_MAX_GROUP_BYTES:,} bytes and {most:,} values in a "
                f"column, found {size:,} and {items:,}. Write the table with smaller row groups."
            )
    leaves = [metadata.schema.column(index) for index in range(metadata.num_columns)]
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    return [leaf for leaf in texts if leaf.split(".")[0] in columns]


def _batches(path: Path, texts: list[str], columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
    done = 0
    try:
        # As a dictionary a text that every row repeats stays one text until its length is known.
        for batch in _read(path, texts, columns, size):
            done += batch.num_rows
            yield batch
    except pa.ArrowNotImplementedError:
        # Lists whose dictionary did not hold all their texts: these stand in the file one by one.
        for batch in _read(path, [], columns, _SMALL_BATCH):
            left = batch.slice(min(done, batch.num_rows))
            done -= batch.num_rows - left.num_rows
            if left.num_rows:
                yield left


def _read(path: Path, texts: list[str], columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path, memory_map=True, pre_buffer=False, read_dictionary=texts) as file:
        # A row group at a time, since lists cannot be joined across two of them.
        for group in range(file.num_row_groups):
            yield from file.iter_batches(size, row_groups=[group], columns=columns, use_threads=False)


def _values(path: Path, before: int, column: pa.Array) -> list[Any]:
    """Turn a column into Python's values, once it is known that they are not too long to be meant."""
    is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    flat = column.flatten() if is_list else column
    if len(flat) > _MAX_ITEMS:
        raise ReaderError(f"{path}: rows from {before + 1}: expected lists of a few texts, found {len(flat):,} items.")
    texts = flat.dictionary if pa.types.is_dictionary(flat.type) else flat
    if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
        longest = pc.max(pc.binary_length(texts)).as_py() or 0
        if longest > _MAX_TEXT_BYTES:
            raise ReaderError(f"{path}: rows from {before + 1}: expected short texts, found one of {longest:,} bytes.")
    with _as_reader_error(path):
        return (column.dictionary_decode() if texts is not flat and not is_list else column).to_pylist()


@contextmanager
def _as_reader_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError, OverflowError) as error:
        raise ReaderError(f"{path}: expected a whole Parquet file: {error!s:.300}") from error
