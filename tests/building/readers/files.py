"""What the tests of the readers share: files that they make themselves, and what reading them may cost."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from knowledge_plugin import Entity

MIB = 2**20


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def drain(rows: Iterable[Any]) -> int:
    """Read to the end and keep nothing."""
    return sum(1 for _ in rows)


def peak(function: Callable[[], Any]) -> int:
    """The largest number of bytes that Python held at once while a function ran, errors included."""
    tracemalloc.start()
    try:
        function()
    finally:
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found


# No controls: a table has no way to write them. Blanks at the ends of a cell are not kept.
# Nor a word for an empty cell.
EMPTY = {"nan", "NaN", "-nan", "-NaN", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NA", "None", "null", "NULL"}
words = (
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda word: word not in EMPTY)
)
names = words.filter(lambda word: word and "|" not in word)
entities = st.builds(
    Entity,
    id=names,
    label=names,
    aliases=st.lists(names, max_size=3).map(tuple),
    description=st.none() | words.filter(bool),
    types=st.lists(names, max_size=2).map(tuple),
    popularity=st.none() | st.floats(0, 1e12),
)
entity_lists = st.lists(entities, min_size=1, max_size=8, unique_by=lambda entity: entity.id)
