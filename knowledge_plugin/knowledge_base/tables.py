"""The entity table and the alias table, in Arrow and in Parquet.

Both are in row order, so that a row of a Parquet file of millions is found by the statistics of its row groups and
read by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knowledge_plugin.knowledge_base.columns import COLUMNS, codes, flat_names, mask, numbers, weights
from knowledge_plugin.knowledge_base.entity import Entity
from knowledge_plugin.knowledge_base.normalization import normalize_column, strip_column
from knowledge_plugin.knowledge_base.parquet import ParquetReader

ENTITIES_NAME = "entities.parquet"
ALIASES_NAME = "aliases.parquet"
_ROW_GROUP = 8_192

_ENTITY_COLUMNS = {name: COLUMNS[name] for name in ("id", "label")}
_OPTIONAL_COLUMNS = {name: COLUMNS[name] for name in ("description", "types", "popularity")}
_ALIAS_COLUMNS = {"alias": pa.string(), "row": pa.int64(), "prior": pa.float32()}


def entity_table(columns: pa.Table) -> pa.Table:
    """Return the table that is saved of the entities; columns that nobody filled are left out.

    Args:
        columns: As :func:`~knowledge_plugin.knowledge_base.columns.to_columns` makes them.
    """
    kept = {name: columns[name] for name in _ENTITY_COLUMNS}
    for name in _OPTIONAL_COLUMNS:
        column = _without_null_lists(columns[name]) if name == "types" else columns[name]
        filled = pc.list_value_length(column) if name == "types" else pc.is_valid(column).cast(pa.int8())
        if pc.max(filled).as_py():
            kept[name] = column
    return pa.table(kept)


def alias_table(columns: pa.Table) -> pa.Table:
    """Return every name of every entity with its prior: the share of that entity's popularity among the bearers.

    The bearers of a name are those of all its spellings in Unicode NFC and lower case. One is added to every
    popularity, so that entities without one share evenly. Blank names are left out, and repetitions.
    """
    names, row = flat_names(columns)
    fit = pc.not_equal(strip_column(names), "")
    names, row = names.filter(fit), row[mask(fit)]
    first = _first_of_each(codes(names), row)
    names, row = names.take(pa.array(first)), row[first]
    key, weight = codes(normalize_column(names, "insensitive")), weights(columns)
    bearers = _first_of_each(key, row)
    totals = np.bincount(key[bearers], weight[row[bearers]])
    return _names_table(names, row, weight[row] / totals[key] if len(row) else weight[row])


def renewed_alias_table(
    old: pa.Table, columns: pa.Table, changed: np.ndarray, gone: pa.ChunkedArray | None = None
) -> pa.Table:
    """Return the names after some entities changed, with the old priors wherever those have nothing to do with it.

    A prior may come from anywhere, such as counts of links, so only names that a changed entity bears, or bore, get a
    new one, from popularity.

    Args:
        old: The names and priors before.
        columns: All entities as they are now.
        changed: bool ``[rows]``, those that are new or changed.
        gone: Names of entities that were removed.
    """
    fresh = alias_table(columns)
    both = pa.concat_tables([old, fresh])
    keys = normalize_column(both["alias"], "insensitive")
    row, key = numbers(both["row"]), codes(keys)
    is_new = np.arange(len(row)) >= old.num_rows
    is_touched = np.isin(key, key[changed[row]])
    if gone is not None:
        is_touched |= mask(pc.is_in(keys, normalize_column(gone, "insensitive")))
    # What an author left out of the names of an entity stays out of them.
    pair = codes(both["alias"]) * (columns.num_rows + 1) + row
    listed = np.isin(pair, pair[~is_new])
    kept = np.flatnonzero(np.where(is_new, is_touched & (changed[row] | listed), ~is_touched))
    return both.take(pa.array(kept[np.argsort(row[kept], kind="stable")]))


def _first_of_each(code: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return where each pair of text and row stands for the first time, in order."""
    pair = row * (int(code.max(initial=0)) + 1) + code
    return np.sort(np.unique(pair, return_index=True)[1])


def _names_table(names: pa.ChunkedArray, row: np.ndarray, prior: np.ndarray) -> pa.Table:
    columns = {"alias": names, "row": pa.array(row), "prior": pa.array(prior.astype(np.float32))}
    return pa.table({name: columns[name].cast(kind) for name, kind in _ALIAS_COLUMNS.items()})


def _without_null_lists(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not column.null_count:
        return column
    lengths = [np.from_dlpack(pc.fill_null(pc.list_value_length(chunk), 0)) for chunk in column.chunks]
    offsets = [np.concatenate([[0], np.cumsum(length)]).astype(np.int32) for length in lengths]
    chunks = zip(offsets, column.chunks, strict=True)
    return pa.chunked_array(
        [pa.ListArray.from_arrays(pa.array(offset), chunk.flatten()) for offset, chunk in chunks], column.type
    )


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table in row groups small enough to be read one by one."""
    pq.write_table(table, path, row_group_size=_ROW_GROUP, compression="zstd", write_statistics=True)


class Tables:
    """Reads entities from the two tables, in memory or from Parquet, a row at a time.

    Args:
        entities: Table or Parquet file of the entities.
        aliases: Table or Parquet file of the names, in row order.
    """

    def __init__(self, entities: pa.Table | Path, aliases: pa.Table | Path) -> None:
        self._entities = _reader(entities, _ENTITY_COLUMNS, _OPTIONAL_COLUMNS)
        self._aliases = _reader(aliases, _ALIAS_COLUMNS, {}, rows=self._entities.rows)

    @property
    def counts(self) -> tuple[int, int]:
        """Number of entities and of names."""
        return self._entities.rows, self._aliases.rows

    def entity(self, row: int) -> Entity:
        """Read one entity with its names."""
        record = self._entities.record(row)
        names = [name for name in self._aliases.where_row(row) if name != record["label"]]
        return Entity(
            id=record["id"],
            label=record["label"],
            aliases=tuple(names),
            description=record.get("description"),
            types=tuple(record.get("types") or ()),
            popularity=record.get("popularity"),
        )

    def types(self, row: int) -> tuple[str, ...] | None:
        """Read the types of one entity without its names; ``None`` if the table has no types at all."""
        record = self._entities.record(row)
        return tuple(record["types"] or ()) if "types" in record else None

    def entities(self) -> Iterator[Entity]:
        """Read all entities in row order."""
        names: dict[int, list[str]] = defaultdict(list)
        for batch in self._aliases.batches(["alias", "row"]):
            for name, row in zip(batch["alias"].to_pylist(), batch["row"].to_pylist(), strict=True):
                names[row].append(name)
        row = 0
        for batch in self._entities.batches():
            for record in batch.to_pylist():
                aliases = tuple(name for name in names.pop(row, ()) if name != record["label"])
                types = tuple(record.pop("types", None) or ())
                yield Entity(**record, aliases=aliases, types=types)
                row += 1

    def labels(self) -> Iterator[str]:
        """Read all labels in row order."""
        for batch in self._entities.batches(["label"]):
            yield from batch["label"].to_pylist()

    def columns(self) -> pa.Table:
        """Read all entities with their names, as columns."""
        entities, names = self._entities.table(), self._aliases.table()
        row = numbers(names["row"])
        other = pc.not_equal(names["alias"], entities["label"].take(names["row"]))
        counts = np.bincount(row[mask(other)], minlength=self.counts[0])
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        aliases = pa.ListArray.from_arrays(pa.array(offsets), names["alias"].filter(other).combine_chunks())
        found = {name: entities[name] for name in entities.column_names} | {"aliases": aliases}
        return pa.table({n: found.get(n, pa.nulls(self.counts[0], kind)) for n, kind in COLUMNS.items()})

    def count_of_type(self, of_type: str) -> int:
        """Count the entities that have a type."""
        if not self.counts[0] or "types" not in self._entities.record(0):
            return 0
        found = 0
        for batch in self._entities.batches(["types"]):
            lists = batch["types"]
            has = pc.equal(lists.flatten(), of_type)
            found += pc.count_distinct(pc.list_parent_indices(lists).filter(has)).as_py()
        return found

    def count_described(self) -> int:
        """Count the entities that have a description."""
        if not self.counts[0] or "description" not in self._entities.record(0):
            return 0
        return sum(len(batch) - batch["description"].null_count for batch in self._entities.batches(["description"]))

    def count_other_names(self) -> int:
        """Count the names that are not the label of their entity."""
        # Large: the labels of all entities may take more than the two gigabytes that are the bound of others.
        chunks = [batch["label"].cast(pa.large_string()) for batch in self._entities.batches(["label"])]
        labels = pa.chunked_array(chunks, pa.large_string()).combine_chunks()
        found = 0
        for batch in self._aliases.batches(["alias", "row"]):
            other = pc.not_equal(batch["alias"].cast(pa.large_string()), labels.take(batch["row"]))
            found += pc.sum(other).as_py() or 0
        return found

    def id_column(self) -> pa.ChunkedArray:
        """Read all ids in row order."""
        return pa.chunked_array([batch["id"] for batch in self._entities.batches(["id"])], COLUMNS["id"])

    def alias_table(self) -> pa.Table:
        """Read the whole table of names."""
        return self._aliases.table()

    def names(self) -> Iterator[tuple[str, int, float]]:
        """Read all ``(alias, row, prior)``."""
        for batch in self._aliases.batches():
            yield from zip(*(batch[name].to_pylist() for name in _ALIAS_COLUMNS), strict=True)

    def save(self, folder: Path) -> list[str]:
        """Write both tables and return their file names."""
        write_table(self._entities.table(), folder / ENTITIES_NAME)
        write_table(self._aliases.table(), folder / ALIASES_NAME)
        return [ENTITIES_NAME, ALIASES_NAME]


class _MemoryReader:
    """A table in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table.combine_chunks()
        self.rows = table.num_rows
        self._row = numbers(table["row"]) if "row" in table.column_names else np.zeros(0, np.int64)

    def record(self, row: int) -> dict:
        return self._table.slice(row, 1).to_pylist()[0]

    def where_row(self, row: int) -> list[str]:
        start, end = np.searchsorted(self._row, [row, row + 1])
        return self._table["alias"].slice(start, end - start).to_pylist()

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        yield from (self._table.select(columns) if columns else self._table).to_batches(_ROW_GROUP)

    def table(self) -> pa.Table:
        return self._table


def _reader(
    source: pa.Table | Path, required: dict, optional: dict, rows: int | None = None
) -> _MemoryReader | ParquetReader:
    return _MemoryReader(source) if isinstance(source, pa.Table) else ParquetReader(source, required, optional, rows)
