"""``python -m benchmarks``: what attaching costs, how fast text is linked, how much a large knowledge base takes.

Minutes; with ``--full`` rows 1, 4 and 5 at five million entities, some minutes more. What is compared takes turns in
one process, and a ratio is a median of rounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks import attached, growth, linking, scale, training
from benchmarks.results import machine, save, show

FOLDER = Path("runs/benchmarks")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="rows 1, 4 and 5 at five million entities")
    parser.add_argument("--only", metavar="ROWS", help="such as 2,4: those rows alone, and no plots")
    arguments = parser.parse_args()
    entities = 5_000_000 if arguments.full else 200_000
    # By the numbers of the budgets that each of them is about.
    parts: dict[str, Callable[[], list[dict]]] = {
        "26": attached.rows,
        "3": training.rows,
        "4": linking.rows,
        "145": lambda: scale.rows(entities),
    }
    wanted = {name.strip() for name in arguments.only.split(",")} if arguments.only else set()
    rows = [
        line
        for budgets, measure in parts.items()
        if not wanted or any(name[:1] in budgets for name in wanted)
        for line in measure()
        if not wanted or line["id"] in wanted or line["id"][:1] in wanted
    ]
    rows.sort(key=lambda line: line["id"])
    print(machine())
    show(rows)
    print(f"results: {save(rows, FOLDER / 'results.json')}")
    if not wanted:
        print(f"growth: {growth.plot(growth.measure(), FOLDER / 'growth.png')}")


if __name__ == "__main__":
    main()
