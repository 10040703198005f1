"""The tables of a report, as text for a terminal and as Markdown."""

from __future__ import annotations

import io
import math
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from knowledge_plugin.evaluation.propagation.conditions import TITLES
from knowledge_plugin.evaluation.propagation.findings import Contrast, Figure, Specificity
from knowledge_plugin.evaluation.report import ALL

_TITLES = TITLES | {"majority": "(the most frequent answer of the file)", "chance": "(chance)"}
_PARTS = {
    "easy": "easy: the definition says the answer",
    "hard": "hard: it does not",
    "linked": "rows whose entity is plugged in",
}
_SHARES = ("accuracy", "P(gold)")  # shown in percent


class Findings(Protocol):
    """What the tables show of a report."""

    @property
    def metric(self) -> str: ...  # noqa: D102
    @property
    def confidence(self) -> float: ...  # noqa: D102
    @property
    def figures(self) -> tuple[Figure, ...]: ...  # noqa: D102
    @property
    def specificity(self) -> tuple[Specificity, ...]: ...  # noqa: D102
    def contrast(self, condition: str, over: str, metric: str | None = None, part: str = ALL) -> Contrast | None: ...  # noqa: D102


def number(value: float | None, metric: str, sign: str = "") -> str:
    """Return a figure as it is shown."""
    if value is None or math.isnan(value):
        return "-"
    return f"{100 * value:{sign}.1f}" if metric in _SHARES else f"{value:{sign}.{3 if sign else 4}g}"


def interval(low: float | None, high: float | None, metric: str, sign: str = "") -> str:
    """Return an interval as it is shown."""
    return "-" if low is None else f"{number(low, metric, sign)} to {number(high, metric, sign)}"


def as_text(report: Findings) -> str:
    """Return both tables for a terminal."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=200, color_system=None, force_terminal=False, legacy_windows=False)
    for header, sections in _tables(report):
        table = Table()
        for i, name in enumerate(header):
            table.add_column(name, justify="right" if i else "left", no_wrap=not i)
        for title, rows in sections:
            # As Text: what somebody called a file is not to be taken for markup.
            if title:
                table.add_section()
                table.add_row(Text(title))
            for row in rows:
                table.add_row(*map(Text, row))
        console.print(table)
    return buffer.getvalue().rstrip("\n")


def as_markdown(report: Findings) -> str:
    """Return both tables as Markdown."""
    found = []
    for header, sections in _tables(report):
        lines = [_row(header), _row(["---"] + ["--:"] * (len(header) - 1))]
        for title, rows in sections:
            if title:
                lines.append(_row([f"*{title}*"] + [""] * (len(header) - 1)))
            lines += [_row(row) for row in rows]
        found.append("\n".join(lines))
    return "\n\n".join(found)


_Table = tuple[list[str], list[tuple[str, list[list[str]]]]]


def _tables(report: Findings) -> list[_Table]:
    tables = [_figures(report)]
    return [*tables, _specificity(report)] if report.specificity else tables


def _figures(report: Findings) -> _Table:
    metrics = list(dict.fromkeys(each.metric for each in report.figures))
    bounds = f"{100 * report.confidence:g} % interval"
    header = ["the frozen model with ...", "rows"]
    for metric in metrics:
        header += [_headed(metric), bounds]
    header += ["plugin minus this", bounds]
    found = {(each.condition, each.metric, each.part): each for each in report.figures}
    parts = dict.fromkeys(each.part for each in report.figures)
    sections = []
    for part in parts:
        rows = []
        for condition in (name for name in _TITLES if (name, report.metric, part) in found):
            first = found[condition, report.metric, part]
            cells = [_TITLES[condition], str(first.rows)]
            for metric in metrics:
                each = found.get((condition, metric, part))
                cells += (
                    ["", ""] if each is None else [number(each.value, metric), interval(each.low, each.high, metric)]
                )
            gain = report.contrast("plugin", condition, part=part)
            cells += ["", ""]
            if gain is not None:
                cells[-2:] = [
                    number(gain.difference, gain.metric, "+"),
                    interval(gain.low, gain.high, gain.metric, "+"),
                ]
            rows.append(cells)
        sections.append(("" if part == ALL else _PARTS.get(part, part), rows))
    return header, sections


def _specificity(report: Findings) -> _Table:
    metric = report.specificity[0].metric
    header = ["injected by", "other sentences", "tried on each", f"{_headed(metric)}, before", "after", "change"]
    header += [f"{100 * report.confidence:g} % interval", "touched"]
    rows = [
        [
            TITLES[each.condition],
            str(each.rows),
            f"{each.edits:.3g}",
            number(each.before, metric),
            number(each.after, metric),
            number(each.difference, metric, "+"),
            interval(each.low, each.high, metric, "+"),
            "all" if each.touched is None else str(each.touched),
        ]
        for each in report.specificity
    ]
    return header, [("", rows)]


def _headed(metric: str) -> str:
    return f"{metric}, %" if metric in _SHARES else metric


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
