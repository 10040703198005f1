"""How far long work of unknown length has come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


def counted(tables: Iterable[pa.Table], what: str, progress: bool) -> Iterator[pa.Table]:
    """Yield the tables, and show on stderr how many rows have gone by, and how fast.

    Args:
        tables: Any.
        what: What their rows are.
        progress: Whether to show anything.
    """
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} {task.description}"), TimeElapsedColumn())
    rate = TextColumn("{task.fields[rate]}")
    with Progress(*columns, rate, console=Console(stderr=True), disable=not progress, transient=True) as shown:
        task = shown.add_task(what, total=None, rate="")
        for table in tables:
            yield table
            shown.advance(task, table.num_rows)
            if speed := shown.tasks[0].speed:
                shown.update(task, rate=f"{speed:,.0f}/s")
