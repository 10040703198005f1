"""Reading the Parquet files of strangers: a row at a time, with every error ours and memory within bounds."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knowledge_plugin.errors import ArtifactError
from knowledge_plugin.knowledge_base.rows import check_priors, check_rows

_BATCH = 8_192
_CACHED_ROW_GROUPS = 16
# What a file may become: so much in any case, and so much for each of its bytes. Real names take five bytes a row,
# and text of few different values a hundredth of its size.
_ROWS = (2**20, 20)
_BYTES = (2**28, 1_000)
_Table = TypeVar("_Table", pa.Table, pa.RecordBatch)


class ParquetReader:
    """A table on disk: the footer is read on opening, row groups when they are asked for.

    Args:
        path: The file.
        required: Names and types of the columns that must be there, with a value in every row.
        optional: Of those that may be there. Other columns are not read.
        entities: For a table of names, how many rows of entities they may lead to.

    Raises:
        ArtifactError: Here or when something is read: the file is no whole Parquet file, has other columns or values
            than it should, or would become far larger than it is.
    """

    def __init__(self, path: Path, required: dict, optional: dict, entities: int | None) -> None:
        self._path = path
        self._required = required
        self._entities = entities
        self._kinds = required | optional
        with _as_artifact_error(path):
            # One mapping for all reading: another save into the folder puts other files under the same names.
            self._bytes = pa.memory_map(str(path)).read_buffer()
            file = pq.ParquetFile(pa.BufferReader(self._bytes))
            metadata, schema = file.metadata, file.schema_arrow
        self.rows = metadata.num_rows
        for name, kind in self._kinds.items():
            kinds = [schema.field(index).type for index in schema.get_all_field_indices(name)]
            if kinds != [kind] and (kinds or name in required):
                found = ", ".join(map(str, kinds)) or "no such column"
                raise ArtifactError(f"{path}: column {name!r}: expected {kind}, found {found}.")
        self._columns = [name for name in self._kinds if name in schema.names]
        with _as_artifact_error(path):
            self._groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
            self._starts = [0, *accumulate(group.num_rows for group in self._groups)]
            self._check_bounds()
            leaves = [metadata.schema.column(i) for i in range(len(metadata.schema))]
        # Text that is stored once and referred to often stays so until its size is known.
        self._texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        self._file = self._open()
        # Arrow readers may not be shared by threads while they read.
        self._lock = threading.Lock()
        self._read = lru_cache(_CACHED_ROW_GROUPS)(self._read_uncached)

    def _open(self) -> pq.ParquetFile:
        with _as_artifact_error(self._path):
            return pq.ParquetFile(pa.BufferReader(self._bytes), read_dictionary=self._texts)

    def _check_bounds(self) -> None:
        """Refuse what would take far more memory than was sent: a Parquet file can repeat itself in no bytes at all."""
        self._check_bound(self.rows, _ROWS, "rows")
        for group in self._groups:
            self._check_bound(group.total_byte_size, _BYTES, "bytes")
            for i in range(group.num_columns):
                self._check_bound(group.column(i).num_values, _ROWS, "values")

    def _check_bound(self, found: int, limit: tuple[int, int], what: str) -> None:
        always, per_byte = limit
        if found > (most := max(always, per_byte * self._bytes.size)):
            raise ArtifactError(
                f"{self._path}: {self._bytes.size} bytes would become {found} {what}, expected at most {most}: this is "
                "no knowledge base, but a way to fill memory. Do not trust it."
            )

    def _read_uncached(self, group: int) -> pa.Table:
        with self._lock, _as_artifact_error(self._path):
            table = self._checked(self._file.read_row_group(group, columns=self._columns))
            self._check_count(table.num_rows, self._groups[group].num_rows)
            return table

    def record(self, row: int) -> dict:
        """Read one row."""
        group = bisect.bisect_right(self._starts, row) - 1
        return self._read(group).slice(row - self._starts[group], 1).to_pylist()[0]

    def where_row(self, row: int) -> list[str]:
        """Read the names of one entity."""
        # Columns of the file's statistics are leaves: a nested column counts as several.
        leaves = self._file.metadata.schema
        column = next(i for i in range(len(leaves)) if leaves.column(i).path == "row")
        found: list[str] = []
        for i, group in enumerate(self._groups):
            statistics = group.column(column).statistics
            if statistics is None or not statistics.has_min_max or statistics.min <= row <= statistics.max:
                table = self._read(i)
                found += table.filter(pc.equal(table["row"], row))["alias"].to_pylist()
        return found

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Read all rows, some at a time."""
        with _as_artifact_error(self._path):
            file = self._open()
            found = 0
            for batch in file.iter_batches(_BATCH, columns=columns or self._columns):
                yield self._checked(batch)
                found += batch.num_rows
            self._check_count(found, self.rows)

    def table(self) -> pa.Table:
        """Read all rows at once."""
        with _as_artifact_error(self._path):
            table = self._checked(self._open().read(columns=self._columns))
            self._check_count(table.num_rows, self.rows)
            return table

    def _check_count(self, found: int, declared: int) -> None:
        if found != declared:
            raise ArtifactError(f"{self._path}: expected {declared} rows, as its footer says, found {found}.")

    def _checked(self, table: _Table) -> _Table:
        for column in table.columns:
            self._check_bound(sum(map(_expanded_size, _chunks(column))), _BYTES, "bytes of text")
        table = table.cast(pa.schema([(name, self._kinds[name]) for name in table.schema.names]))
        table.validate(full=True)  # text that is no UTF-8
        for name in set(table.schema.names) & set(self._required):
            if table[name].null_count:
                raise ArtifactError(
                    f"{self._path}: column {name!r}: expected a value in every row, found none in some."
                )
        if self._entities is not None:
            # Arrow's own way to numpy would import pandas.
            for chunk in _chunks(table["row"]):
                check_rows(np.from_dlpack(chunk), self._entities, self._path)
            for chunk in _chunks(table["prior"]) if "prior" in table.schema.names else ():
                check_priors(np.from_dlpack(chunk), self._path)
        return table


class _as_artifact_error:
    """Turn Arrow's errors about a broken file into ours, with the file's name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (pa.ArrowException, OSError, UnicodeDecodeError)):
            raise ArtifactError(
                f"{self._path} is no whole Parquet file: {error}. Download or save the artifact again."
            ) from error


def _chunks(column: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _expanded_size(array: pa.Array) -> int:
    """Return the bytes of the texts of a column, each as often as it stands there."""
    if isinstance(array, pa.ListArray):
        return _expanded_size(array.flatten())
    if not isinstance(array, pa.DictionaryArray):
        return 0
    return pc.sum(pc.take(pc.binary_length(array.dictionary), array.indices).cast(pa.int64())).as_py() or 0
