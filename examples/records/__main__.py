"""``python -m examples.records --seeds 0 1``: knowledge that a model generates, where the right answer is known.

A small model learns from records of an invented world by field masking. It generates what it thinks of people of whom
no record tells, and judges it; both are compared with the rule of the world. What it generated then becomes a knowledge
base, and a frozen reader that knows nobody is asked with it, and with its controls.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from examples.methods.reader import Settings as ReaderSettings
from examples.methods.reader import reader
from examples.records.experiment import Outcome, Settings, run
from examples.records.measures import Figure


def main(argv: list[str] | None = None) -> None:
    """Run for some seeds, and print tables in Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.records", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--readers", type=Path, help="folder in which readers are kept; trained anew if not given")
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    parser.add_argument("--quick", action="store_true", help="too little of everything, to see that it runs")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    settings, small = Settings(), ReaderSettings()
    if options.quick:
        settings = Settings(people=24, held_out=8, steps=3, width=16, at_least=0.0, tuning_epochs=0.5, resamples=10)
        small = ReaderSettings(layers=2, steps=2)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            began = time.monotonic()

            def say(what: str, began: float = began) -> None:
                print(f"[{time.monotonic() - began:.0f} s] {what}", file=sys.stderr, flush=True)

            place = (options.readers or Path(folder)) / f"reader-{seed}"
            outcome = run(settings, seed, partial(reader, place, seed, small), say)
            say("done")
            figures[seed] = asdict(outcome)
            print(f"\nSeed {seed}\n\n{in_words(outcome)}", flush=True)
            if options.json:
                options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def in_words(outcome: Outcome) -> str:
    """Lay out all tables of a seed."""
    marked, all_of_them = outcome.generated
    directions = {
        of: {model: figures[of] for model, figures in outcome.directions.items()}
        for of in next(iter(outcome.directions.values()))
    }
    return "\n\n".join(
        [
            _table("generated inferences", {name: {"right, %": f} for name, f in outcome.right.items()}),
            _table("plausibility", {name: {"AUC, %": f} for name, f in outcome.judged.items()}),
            _table("asked for", directions),
            _table("the reader is given", outcome.reader),
            f"{marked} of {all_of_them} entities say that a model generated their facts. One of them:",
            "\n".join(f"    {note}" for note in outcome.example),
        ]
    )


def _table(title: str, rows: Mapping[str, Mapping[str, Figure]]) -> str:
    heads = list(next(iter(rows.values())))
    lines = [f"| {title} | {' | '.join(heads)} |", f"|{'---|' * (len(heads) + 1)}"]
    lines += [f"| {name} | {' | '.join(_percent(row.get(head)) for head in heads)} |" for name, row in rows.items()]
    return "\n".join(lines)


def _percent(figure: Figure | None) -> str:
    if figure is None:
        return ""
    known = figure.low is not None and figure.high is not None
    interval = f" ({100 * figure.low:.1f} to {100 * figure.high:.1f})" if known else ""
    return f"{100 * figure.value:.1f}{interval}, n = {figure.n}"


if __name__ == "__main__":
    main()
