"""docs/compatibility.md, made by the contract suite itself: ``make compatibility``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

TABLE = Path(__file__).parents[2] / "docs" / "compatibility.md"
_HEAD = """\
# What works where

Made by the contract suite (`make compatibility`); nothing here is written by hand. Each row is backed by tests that ran
on tiny models with random weights, on a CPU, and compare with the same model whose embedding matrix was truly enlarged
by a row for each entity: equal to the bit unless the row says otherwise.

"""


def label(item: pytest.Item) -> None:
    """Write on a test what rows of the table it is evidence for, in a form that travels between processes."""
    for mark in item.iter_markers("way"):
        item.user_properties.append(("way", list(mark.args)))
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("bare") if callspec is not None else None
    if name is not None:
        item.user_properties.append(("architecture", name))


def tally(reports: Iterable[pytest.TestReport]) -> tuple[dict[tuple, list[bool]], dict[str, list[bool]]]:
    """Return whether each test passed, by row of the table and by architecture. Skipped tests are no evidence."""
    ways: dict[tuple, list[bool]] = defaultdict(list)
    architectures: dict[str, list[bool]] = defaultdict(list)
    for report in reports:
        if report.when != "call" or report.skipped:
            continue
        for kind, value in report.user_properties:
            if kind == "way":
                ways[tuple(value)].append(report.passed)
            elif kind == "architecture":
                architectures[value].append(report.passed)
    return ways, architectures


def render(ways: dict[tuple, list[bool]], architectures: dict[str, list[bool]]) -> str:
    """Return the page."""
    lines = [_HEAD]
    groups: dict[str, list[tuple]] = defaultdict(list)
    for group, name, limit in sorted(ways, key=lambda way: (way[0], way[2] is not None, way[1])):
        groups[group].append((name, limit, ways[group, name, limit]))
    for group, rows in groups.items():
        lines.append(f"## {group[0].upper()}{group[1:]}\n\n| | works | tests | why not |\n|---|---|---|---|\n")
        for name, limit, passed in rows:
            works = "FAILS" if not all(passed) else "yes" if limit is None else "no"
            lines.append(f"| {name} | {works} | {len(passed)} | {limit or ''} |\n")
        lines.append("\n")
    lines.append("## Architectures\n\n| | works | tests |\n|---|---|---|\n")
    for name in sorted(architectures):
        passed = architectures[name]
        lines.append(f"| {name} | {'yes' if all(passed) else 'FAILS'} | {len(passed)} |\n")
    return "".join(lines)
