"""One table of results: what was measured, beside the published way, against its budget."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from rich.console import Console
from rich.table import Table

KEYS = ("id", "work", "published", "ours", "unit", "ratio", "budget", "met", "spread", "rounds")


def row(
    row_id: str,
    work: str,
    published: float | None,
    ours: float,
    unit: str,
    ratio: float | None,
    budget: str,
    met: bool | None,
    measured: Sequence[float] = (),
) -> dict:
    """Return one line of the results.

    Args:
        row_id: The number of the budget, with a letter where it has several parts.
        work: What was done.
        published: What the published way takes, in ``unit``.
        ours: What ours takes.
        unit: Of both.
        ratio: Ours over published.
        budget: What was wanted.
        met: Whether that was reached; ``None`` if there is no budget, or none at this size.
        measured: The figure that the budget is about, of each round; its range and number are kept.
    """
    spread = [min(measured), max(measured)] if measured else None
    values = (row_id, work, published, ours, unit, ratio, budget, met, spread, len(measured) or None)
    return dict(zip(KEYS, values, strict=True))


def machine() -> str:
    """Describe the machine, without its name."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0] if models else cpu
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{cpu}, {cores}; torch {torch.__version__}, transformers {transformers.__version__}"


def show(rows: list[dict], title: str = "Benchmarks") -> None:
    """Print the results as a table, and which budgets were missed."""
    table = Table(title=title, title_justify="left")
    left = ("id", "work", "unit", "budget", "met")
    for name in ("id", "work", "published", "ours", "unit", "ratio", "spread", "budget", "met"):
        table.add_column(name, justify="left" if name in left else "right")
    for r in rows:
        table.add_row(
            r["id"],
            r["work"],
            _figure(r["published"]),
            _figure(r["ours"]),
            r["unit"],
            "-" if r["ratio"] is None else f"{r['ratio']:.4f}",
            "-" if not r.get("spread") else "-".join(_figure(value) for value in r["spread"]),
            r["budget"],
            {True: "yes", False: "no", None: "-"}[r["met"]],
        )
    Console(width=150).print(table)
    if missed := [r["id"] for r in rows if r["met"] is False]:
        print(f"Budgets not met in this run: {', '.join(missed)}.")


def save(rows: list[dict], path: Path) -> Path:
    """Write the results as JSON, and return where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return path


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
