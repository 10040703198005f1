"""The entity table and the alias table, in Arrow and in Parquet.

Both are in row order, so that a row of a Parquet file of millions is found by the statistics of its row groups and
read by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knowledge_plugin.knowledge_base.entity import Entity
from knowledge_plugin.knowledge_base.normalization import normalize
from knowledge_plugin.knowledge_base.parquet import ParquetReader

ENTITIES_NAME = "entities.parquet"
ALIASES_NAME = "aliases.parquet"
_ROW_GROUP = 8_192

_ENTITY_COLUMNS = {"id": pa.string(), "label": pa.string()}
_OPTIONAL_COLUMNS = {"description": pa.string(), "types": pa.list_(pa.string()), "popularity": pa.float64()}
_ALIAS_COLUMNS = {"alias": pa.string(), "row": pa.int64(), "prior": pa.float32()}


def entity_table(entities: Sequence[Entity]) -> pa.Table:
    """Return the entities as a table; columns that nobody filled are left out."""
    columns = {name: pa.array([getattr(e, name) for e in entities], kind) for name, kind in _ENTITY_COLUMNS.items()}
    for name, kind in _OPTIONAL_COLUMNS.items():
        values = [getattr(entity, name) for entity in entities]
        if any(value not in (None, ()) for value in values):
            columns[name] = pa.array(values, kind)
    return pa.table(columns)


def alias_table(entities: Sequence[Entity]) -> pa.Table:
    """Return every name of every entity with its prior: the share of that entity's popularity among the bearers.

    The bearers of a name are those of all its spellings in Unicode NFC and lower case. One is added to every
    popularity, so that entities without one share evenly.
    """
    bearers: dict[str, dict[int, float]] = defaultdict(dict)
    names: list[tuple[str, int, str]] = []
    for row, entity in enumerate(entities):
        for name in entity.names:
            key = normalize(name, "insensitive")
            names.append((name, row, key))
            bearers[key][row] = 1 + (entity.popularity or 0)
    totals = {key: sum(weights.values()) for key, weights in bearers.items()}
    return pa.table(
        {
            "alias": pa.array([name for name, _, _ in names], pa.string()),
            "row": pa.array([row for _, row, _ in names], pa.int64()),
            "prior": pa.array([bearers[key][row] / totals[key] for _, row, key in names], pa.float32()),
        }
    )


def renewed_alias_table(old: pa.Table, entities: Sequence[Entity], changed: set[int]) -> pa.Table:
    """Return the names after some entities changed, with the old priors wherever those have nothing to do with it.

    A prior may come from anywhere, such as counts of links, so only names that a changed entity bears, or bore, get a
    new one, from popularity.

    Args:
        old: The names and priors before.
        entities: All entities as they are now.
        changed: Rows of those that are new or changed.
    """
    before = list(zip(*(old[name].to_pylist() for name in _ALIAS_COLUMNS), strict=True))
    fresh = alias_table(entities)
    after = list(zip(*(fresh[name].to_pylist() for name in _ALIAS_COLUMNS), strict=True))
    touched = {normalize(name, "insensitive") for name, row, _ in (*before, *after) if row in changed}
    # What an author left out of the names of an entity stays out of them.
    listed = {(name, row) for name, row, _ in before}
    names = [item for item in before if normalize(item[0], "insensitive") not in touched]
    names += [
        item
        for item in after
        if normalize(item[0], "insensitive") in touched and (item[1] in changed or item[:2] in listed)
    ]
    names.sort(key=lambda item: item[1])
    columns = zip(*names, strict=True) if names else [[] for _ in _ALIAS_COLUMNS]
    return pa.table(
        {name: pa.array(column, kind) for (name, kind), column in zip(_ALIAS_COLUMNS.items(), columns, strict=True)}
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

    def ids(self) -> Iterator[str]:
        """Read all ids in row order."""
        for batch in self._entities.batches(["id"]):
            yield from batch["id"].to_pylist()

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

    def record(self, row: int) -> dict:
        return self._table.slice(row, 1).to_pylist()[0]

    def where_row(self, row: int) -> list[str]:
        return self._table.filter(pc.equal(self._table["row"], row))["alias"].to_pylist()

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        yield from (self._table.select(columns) if columns else self._table).to_batches(_ROW_GROUP)

    def table(self) -> pa.Table:
        return self._table


def _reader(
    source: pa.Table | Path, required: dict, optional: dict, rows: int | None = None
) -> _MemoryReader | ParquetReader:
    return _MemoryReader(source) if isinstance(source, pa.Table) else ParquetReader(source, required, optional, rows)
