"""What looks like a slip in a table of entities, and may be meant: a warning, once for each table, never an error."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# As pandas knows them. The second are words too: Namibia's code, a commune in Italy, a surname.
_MARKS = frozenset(("nan", "NaN", "-nan", "-NaN", "N/A", "n/a", "#N/A", "#NA", "<NA>"))
_WORDS = frozenset(("NA", "None", "null", "NULL"))
_NOTHING = _MARKS | _WORDS
_LISTED = ("aliases", "types")
_SHOWN = 10
_FEWEST_CELLS = 2  # one name with a comma says nothing


def warn_of_unused(where: object, found: Iterable[str], matched: Mapping[str, str], fields: Collection[str]) -> None:
    """Warn of columns that no field was read from, if there are fields that were not found.

    Args:
        where: The table.
        found: What it calls its columns.
        matched: Field to column.
        fields: All that a table may have.
    """
    used = set(matched.values())
    unused = [name for name in found if name not in used and str(name).strip()]
    absent = [field for field in fields if field not in matched]
    if not (unused and absent):
        return
    meant: dict[str, str] = {}
    for name in unused:
        if (field := _closest(str(name), [field for field in absent if field not in meant])) is not None:
            meant[field] = name
    named = {name: f"{name!r:.80} (did you mean {field}?)" for field, name in meant.items()}
    shown = [named.get(name, f"{name!r:.80}") for name in sorted(unused, key=lambda name: name not in named)]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    python = ", ".join(f"{field!r}: {name!r:.80}" for field, name in meant.items()) or "FIELD: COLUMN"
    typed = " ".join(f"--column {field}={name!s:.80}" for field, name in meant.items()) or "--column FIELD=COLUMN"
    warnings.warn(
        f"{where}: columns that are not used: {', '.join(shown[:_SHOWN])}{more}; fields that were not found: "
        f"{', '.join(absent)}. If one is the other, type: columns={{{python}}}, on the command line {typed}",
        stacklevel=3,
    )


def _closest(name: str, fields: list[str]) -> str | None:
    name = name.strip().lower()
    begun = [field for field in fields if len(name) > 2 and field.startswith(name)]
    return next(iter(begun or get_close_matches(name, fields, 1, 0.75)), None)


class CellSlips:
    """Finds cells that say in a word that they are empty, and lists of names with another sign between them.

    A cell that is nothing but a mark of missing values, such as ``NaN``, ``nan``, ``N/A`` or ``<NA>``, is taken as
    empty; ``NA``, ``None`` and ``null`` are too, but not as aliases, since things are called so. Labels and items of
    real lists are never touched.

    Args:
        path: The table, for messages.
        unit: What is counted: ``"line"`` or ``"row"``.
        separator: Between the items of a cell.

    Example:
        >>> slips = CellSlips("drugs.csv", "line", "|")
        >>> slips.without_marks(2, {"label": "NaN", "aliases": "N/A", "description": "nan"})
        {'label': 'NaN', 'aliases': None, 'description': None}
    """

    def __init__(self, path: object, unit: str, separator: str) -> None:
        self._path, self._unit, self._separator = path, unit, separator
        self._others = {sign: 0 for sign in "|,;" if sign not in separator}
        self._cells = self._separated = self._otherwise = 0
        self._first: dict[str, tuple[int, str]] = {}
        self._counts = {"empty": 0, "kept": 0}

    def without_marks(self, number: int, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a row says, without the words for nothing, and remember what looks like a slip."""
        empty: dict[str, Any] = {}
        if isinstance(description := values.get("description"), str) and description.strip() in _NOTHING:
            empty["description"] = None
            self._count_empty(number, description)
        for field in _LISTED:
            if not isinstance(cell := values.get(field), str):
                continue
            if (word := cell.strip()) in _MARKS or (word in _WORDS and field != "aliases"):
                empty[field] = None
                self._count_empty(number, cell)
            elif field == "aliases" and word:
                self._look_at_names(number, word)
        return {**values, **empty} if empty else values

    def without_marked(self, before: int, descriptions: pa.ChunkedArray) -> pa.ChunkedArray:
        """Do the same for a column of descriptions.

        Args:
            before: How many rows came before.
            descriptions: Texts.
        """
        marked = pc.is_in(descriptions, value_set=pa.array(sorted(_NOTHING), pa.string()))
        if not (count := pc.sum(marked).as_py()):
            return descriptions
        row = pc.index(marked, True).as_py()
        self._count_empty(before + row + 1, descriptions[row].as_py())
        self._counts["empty"] += count - 1
        return pc.if_else(marked, pa.scalar(None, pa.string()), descriptions)

    def warn(self) -> None:
        """Say what was found, at the end of the table."""
        if count := self._counts["empty"]:
            self._warn(
                f"{count:,} cells of aliases, descriptions or types say that they are empty ({self._where('empty')}), "
                f"and are taken so. An alias that is really so is kept with the separator behind it, as in "
                f"'NaN{self._separator}'."
            )
        if (count := self._counts["kept"]) > 1:
            self._warn(
                f"{count:,} cells of aliases are a word that may stand for nothing ({self._where('kept')}), and are "
                "kept as names. If it is no name, leave these cells empty."
            )
        if not self._separated and self._otherwise >= _FEWEST_CELLS and 2 * self._otherwise >= self._cells:
            likely = max(self._others, key=lambda sign: self._others[sign])
            signs = " or ".join(repr(sign) for sign, count in self._others.items() if count)
            self._warn(
                f"no cell of aliases has {self._separator!r} in it, and {self._otherwise:,} of {self._cells:,} have "
                f"{signs} ({self._where('separated')}): each of these cells is one name as it stands. Write "
                f"{self._separator!r} between names; in Python, the reader also takes separator={likely!r}."
            )

    def _count_empty(self, number: int, cell: str) -> None:
        self._counts["empty"] += 1
        self._first.setdefault("empty", (number, cell))

    def _look_at_names(self, number: int, cell: str) -> None:
        if cell in _WORDS:
            self._counts["kept"] += 1
            self._first.setdefault("kept", (number, cell))
        self._cells += 1
        if self._separator in cell:
            self._separated += 1
        if self._separated:
            return
        found = [sign for sign in self._others if sign in cell]
        for sign in found:
            self._others[sign] += 1
        if found:
            self._otherwise += 1
            self._first.setdefault("separated", (number, cell))

    def _where(self, what: str) -> str:
        number, cell = self._first[what]
        return f"the first in {self._unit} {number:,}: {cell!r:.80}"

    def _warn(self, message: str) -> None:
        warnings.warn(f"{self._path}: {message}", stacklevel=4)
