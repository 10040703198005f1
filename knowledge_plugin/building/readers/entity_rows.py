"""From the rows of a table, whatever its format, to entities, each id once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from knowledge_plugin.building.readers.fields import COLUMNS, make_entity, match_columns
from knowledge_plugin.building.readers.seen import SeenIds
from knowledge_plugin.building.readers.slips import CellSlips, warn_of_unused
from knowledge_plugin.knowledge_base.entity import Entity


def match_and_warn(where: str, found: Iterable[str], columns: Mapping[str, str] | None = None) -> dict[str, str]:
    """Say in which column each field is, as :func:`match_columns` does, and warn of columns that no field is in."""
    names = list(found)
    matched = match_columns(where, names, columns)
    warn_of_unused(where, names, matched, COLUMNS)
    return matched


class EntityRows:
    """Makes the entities of one table, and warns at its end of what looks like a slip.

    Args:
        path: The table, for messages.
        unit: What is counted: ``"line"`` or ``"row"``.
        separator: Between the items of a cell.
        id_prefix: Put before every id.
    """

    def __init__(self, path: object, unit: str = "line", *, separator: str = "|", id_prefix: str = "") -> None:
        self._separator, self._id_prefix = separator, id_prefix
        self._place = f"{path}:" if unit == "line" else f"{path}: {unit} "
        self._seen = SeenIds(path, unit)
        self._slips = CellSlips(path, unit, separator)

    def entity(self, number: int, values: Mapping[str, Any]) -> Entity:
        """Make an entity of what a row says: field to value.

        Raises:
            ReaderError: As :func:`make_entity`, or the id was there before.
        """
        values = self._slips.without_marks(number, values)
        entity = make_entity(f"{self._place}{number}", values, separator=self._separator, id_prefix=self._id_prefix)
        self._seen.add(entity.id, number)
        return entity

    def finish(self) -> None:
        """Say that the table has ended.

        Raises:
            ReaderError: An id was there twice.
        """
        self._seen.finish()
        self._slips.warn()
