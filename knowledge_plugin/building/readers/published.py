"""The files of the map-tuning paper's own code: ``transe.npy``, ``entity2id.txt``, ``entity_map.txt``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from knowledge_plugin.building.readers.fields import check_bounds
from knowledge_plugin.building.readers.text import read_lines
from knowledge_plugin.building.readers.vectors import Vectors, map_npy
from knowledge_plugin.errors import KnowledgeBaseError, ReaderError
from knowledge_plugin.knowledge_base.entity import Entity

ENTITY_IDS, ENTITY_NAMES = "entity2id.txt", "entity_map.txt"


def read_published_vectors(folder: str | Path, *, vectors: str = "transe.npy", id_prefix: str = "wikidata:") -> Vectors:
    """Map the vectors, and read their ids from ``entity2id.txt`` (their number, then id and row on each line).

    Args:
        folder: Where the files are.
        vectors: The file of vectors; ``"transr.npy"`` is the other one that was published.
        id_prefix: Put before every id.

    Returns:
        Ids in the order of their rows. The vectors stay mapped from disk, unless some rows have no id: then those
        that have one are copied.

    Raises:
        ReaderError: With file and line: a file is missing or damaged, an id or a row comes twice, or a row is not
            there.
    """
    path = Path(folder) / ENTITY_IDS
    array = map_npy(Path(folder) / vectors)
    ids: list[str | None] = [None] * len(array)
    rows: dict[str, int] = {}
    declared: int | None = None
    for number, line in read_lines(path):
        cells = line.split()
        if number == 1 and len(cells) == 1 and _is_number(cells[0]):
            declared = int(cells[0])
            continue
        if not cells:
            continue
        where = f"{path}:{number}"
        if len(cells) != 2 or not _is_number(cells[1]):
            raise ReaderError(f"{where}: expected an id and a row number, found {line!r:.80}.")
        id, row = id_prefix + cells[0], int(cells[1])
        if row >= len(array):
            raise ReaderError(f"{where}: expected a row from 0 to {len(array) - 1}, found {row} ({vectors}).")
        if (first := rows.setdefault(id, row)) != row or ids[row] is not None:
            other = f"has row {first}" if first != row else f"is the row of {ids[row]!r}"
            raise ReaderError(f"{where}: {id!r:.80}: row {row} was given before ({other}).")
        ids[row] = id
    if declared is not None and len(rows) != declared:
        raise ReaderError(f"{path}: expected {declared:,} ids as line 1 says, found {len(rows):,}. Is it cut off?")
    if not rows:
        raise ReaderError(f"{path}: expected ids, found none.")
    known = np.fromiter((row for row, id in enumerate(ids) if id is not None), np.int64, len(rows))
    is_whole = len(known) == int(known[-1]) + 1
    return Vectors([id for id in ids if id is not None], array[: len(known)] if is_whole else array[known])


def read_published_entities(folder: str | Path, *, id_prefix: str = "wikidata:") -> Iterator[Entity]:
    """Yield the entities that ``entity_map.txt`` names (name, tab, id on each line), each with all of its names.

    The first name is the label. The lines of one entity lie anywhere in the file, so all names are in memory. Names
    that the file repeats count once. An entity without a name is not among them; a knowledge base of this folder
    has the vectors of those that are.

    Args:
        folder: Where the file is.
        id_prefix: Put before every id.

    Raises:
        ReaderError: With file and line: a file is missing or damaged.
    """
    path = Path(folder) / ENTITY_NAMES
    names: dict[str, str] = {}  # names of an entity with tabs between them: a text is smaller than a list
    for number, line in read_lines(path):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) < 2 or not cells[0] or not cells[-1]:
            raise ReaderError(f"{path}:{number}: expected a name, a tab and an id, found {line!r:.80}.")
        id = cells[-1]
        names[id] = f"{names[id]}\t{cells[0]}" if id in names else cells[0]
    for id, joined in names.items():
        where = f"{path}: {id}"
        try:
            label, *others = dict.fromkeys(joined.split("\t"))
            entity = Entity(id_prefix + id, label, tuple(others))
        except KnowledgeBaseError as error:
            raise ReaderError(f"{where}: {error}") from error
        check_bounds(where, entity)
        yield entity


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
