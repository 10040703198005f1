from __future__ import annotations

import json
import platform

from benchmarks.results import machine, row, save, show

ROWS = [
    row("1", "open", 8.0, 0.1, "s", 0.0125, "<= 1/40", True, [0.01, 0.02]),
    row("4", "link", None, 400_000.0, "words/s", None, ">= 250,000", False),
    row("5", "build", None, 3.0, "s", None, "<= 180 at 4.8 M", None),
]


def test_the_table_says_what_was_missed(capsys):
    show(ROWS)
    printed = capsys.readouterr().out
    assert "400,000" in printed
    assert printed.splitlines()[-1] == "Budgets not met in this run: 4."
    show(ROWS[:1])
    assert "not met" not in capsys.readouterr().out


def test_results_come_back(tmp_path):
    path = save(ROWS, tmp_path / "new" / "results.json")
    assert json.loads(path.read_text()) == ROWS
    assert ROWS[0]["spread"] == [0.01, 0.02]


def test_the_machine_is_described_without_its_name():
    assert "cores" in machine()
    assert platform.node() not in machine()
