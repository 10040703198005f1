"""The table of the comparison."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.table import Table

from examples.paper.experiment import Cell
from examples.paper.tasks import Task

LABELS = {
    "none": "nothing",
    "text": "descriptions in the text",
    "e-bert": "E-BERT-like: aligned in closed form",
    "pelt": "PELT-like: states of masked mentions",
    "general": "general map-tuning",
    "task-specific": "task-specific map-tuning",
}


def table(task: Task, cells: Sequence[Cell]) -> Table:
    """Lay out the metric in percent: a column for each checkpoint, a row for each injection, its controls below it."""
    seeds = sorted({cell.seed for cell in cells})
    methods = list(dict.fromkeys(cell.method for cell in cells))
    title = f"{task.name}: {task.head.metric} in percent, n = {cells[0].n}, {_count(seeds)}"
    result = Table(title=title + (f"\n{task.note}" if task.note else ""), title_justify="left")
    result.add_column("the frozen checkpoint with ...")
    for method in methods:
        result.add_column(method, justify="right")
    result.add_column("mentions linked", justify="right")
    for injection in LABELS:
        for control in dict.fromkeys(cell.control for cell in cells if cell.injection == injection):
            found = [cell for cell in cells if (cell.injection, cell.control) == (injection, control)]
            label = LABELS[injection] if control is None else f"  the same, {control} vectors"
            values = [[cell.value for cell in found if cell.method == method] for method in methods]
            linked = "" if injection == "none" else f"{found[0].linked} of {found[0].mentions}"
            result.add_row(label, *map(_percent, values), linked)
    return result


def warnings(cells: Sequence[Cell]) -> list[str]:
    """Say what a reader of the table must know first: injections that put nothing in."""
    silent = dict.fromkeys(cell.injection for cell in cells if cell.injection != "none" and cell.linked == 0)
    return [f"{LABELS[injection]}: not one mention was linked, so this is the row of nothing." for injection in silent]


def _count(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds, mean (least to most)"


def _percent(values: Sequence[float]) -> str:
    percent = [100 * value for value in values]
    if not percent:
        return ""
    mean = f"{statistics.fmean(percent):.1f}"
    return mean if len(percent) == 1 else f"{mean} ({min(percent):.1f} to {max(percent):.1f})"
