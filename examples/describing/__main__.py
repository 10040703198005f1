"""``python -m examples.describing --seed 0``: a decoder reads nothing but a mention's state, and writes what is known.

A small BERT reads about people of an invented world and is frozen. Then:

1. Probe: a decoder learns to read its states. What does it know by itself?
2. Plugin: a mapping learns through the frozen checkpoint, by labels, by masked mentions, by a decoder.
3. LoRA: the same, baked into weights.

A few minutes on one thread. ``--json FILE`` keeps the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from examples.describing.bench import Figure, Settings
from examples.describing.experiment import Outcome, run


def main(arguments: list[str] | None = None, settings: Settings | None = None) -> None:
    """Run for some seeds, and print tables in Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.describing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    outcomes = {}
    for seed in options.seed:
        began = time.monotonic()

        def say(what: str, began: float = began) -> None:
            print(f"[{time.monotonic() - began:.0f} s] {what}", file=sys.stderr, flush=True)

        outcomes[seed] = run(settings or Settings(), seed, say)
        say("done")
        print(f"\nSeed {seed}\n\n{in_tables(outcomes[seed])}", flush=True)
        if options.json:
            figures = {each: asdict(outcome) for each, outcome in outcomes.items()}
            options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def in_tables(outcome: Outcome) -> str:
    """Lay out what was found, in percent."""
    told = {f"LoRA: {name}; {of}": each for name, people in outcome.baked_told.items() for of, each in people.items()}
    held_out = {f"plugin: {name}; held out": each for name, each in outcome.told.items()}
    anew = {name: {"new head": figure} for name, figure in outcome.new_head.items()}
    baked = {name: {**figures, **anew[name]} for name, figures in outcome.baked.items()}
    return "\n\n".join(
        _table(title, rows)
        for title, rows in (
            ("what a decoder reads off states", {**outcome.knows, **held_out, **told}),
            ("a frozen head, with a plugin that learned by", outcome.plugins),
            ("a frozen head, with a LoRA that learned", baked),
        )
    )


def _table(title: str, rows: Mapping[str, Mapping[str, Figure]]) -> str:
    columns = list(next(iter(rows.values())))
    lines = [f"| {title} | {' | '.join(columns)} | n |", f"|{'---|' * (len(columns) + 2)}"]
    for name, figures in rows.items():
        lines.append(f"| {name} | {' | '.join(map(_percent, figures.values()))} | {figures[columns[0]].n} |")
    return "\n".join(lines)


def _percent(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{100 * figure.value:.1f}"
    return f"{100 * figure.value:.1f} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


if __name__ == "__main__":
    main()
