"""What the demo shows: a table, a plot, and a file of figures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

Figures = Mapping[str, float]

ROWS = {
    "none": "no plugin",
    "aligned": "aligned in closed form, no labels",
    "aligned_shuffled": "  the same, vectors shuffled",
    "aligned_random": "  the same, random vectors",
    "affine": "map-tuned, affine",
    "mlp": "map-tuned, two-layer MLP",
    "mlp_random": "  the same, random vectors",
}


def mean(runs: Sequence[Figures]) -> dict[str, float]:
    """Return the mean of each row over runs with different seeds."""
    return {row: statistics.fmean(run[row] for run in runs) for row in ROWS}


def table(title: str, columns: Mapping[str, Sequence[Figures]]) -> Table:
    """Lay out accuracy in percent: a column for each knowledge base, with the spread where there are several seeds."""
    result = Table(title=title, title_justify="left")
    result.add_column("the frozen classifier with ...")
    for name in columns:
        result.add_column(name, justify="right")
    for row, label in ROWS.items():
        result.add_row(label, *(_cell([run[row] for run in runs]) for runs in columns.values()))
    return result


def _cell(values: Sequence[float]) -> str:
    percent = [100 * value for value in values]
    if len(percent) == 1:
        return f"{percent[0]:.1f} %"
    return f"{statistics.fmean(percent):.1f} % ({min(percent):.1f} to {max(percent):.1f})"


def save_figures(path: Path, figures: object) -> None:
    """Write figures as JSON, beside and renamed."""
    beside = path.with_suffix(".partial")
    beside.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    beside.replace(path)


def save_plot(path: Path, columns: Mapping[str, Sequence[Figures]], subtitle: str) -> None:
    """Draw the table as horizontal bars, with a dot for each seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8.5, 1.2 + 0.42 * len(ROWS) * max(1, 0.7 * len(columns))))
    height = 0.8 / len(columns)
    for c, (name, runs) in enumerate(columns.items()):
        places = [i + (c - (len(columns) - 1) / 2) * height for i in range(len(ROWS))]
        means = [100 * statistics.fmean(run[row] for run in runs) for row in ROWS]
        colours = ["#9aa5b1" if "random" in row or "shuffled" in row or row == "none" else f"C{c}" for row in ROWS]
        axes.barh(places, means, height * 0.92, color=colours, label=name)
        for place, value, row in zip(places, means, ROWS, strict=True):
            if len(runs) > 1:
                axes.plot([100 * run[row] for run in runs], [place] * len(runs), ".", color="black", markersize=4)
            right = max([value] + [100 * run[row] for run in runs])
            axes.annotate(f"{value:.1f}", (right, place), (5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(ROWS)), list(ROWS.values()))
    axes.invert_yaxis()
    axes.set_xlim(0, 105)
    axes.set_xlabel("test sentences whose country is named, in percent")
    axes.set_title(
        "A frozen classifier names the country of cities it has never seen\n" + subtitle, fontsize=10, loc="left"
    )
    axes.spines[["top", "right"]].set_visible(False)
    if len(columns) > 1:
        handles = [pyplot.Rectangle((0, 0), 1, 1, color=f"C{c}") for c in range(len(columns))]
        axes.legend(handles, list(columns), loc="lower right", frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
