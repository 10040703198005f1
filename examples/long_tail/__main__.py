"""``python -m examples.long_tail --seed 0``: composed vectors, and knowledge for the long tail alone.

A small classifier reads about the people of an invented world, of some often and of most seldom or never, and learns
the country of those that it has read enough of. Then it is frozen, and asked for the country of all of them:

1. Their vectors are composed from their neighbours in the graph, by an embedding that never saw them.
2. They are shown to the checkpoint at every mention, or only at those of the long tail.

About two minutes on one thread. ``--json FILE`` keeps the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from examples.long_tail.experiment import BANDS, RARER_THAN, Figure, Outcome, Settings, run


def main(arguments: list[str] | None = None, settings: Settings | None = None) -> None:
    """Run for some seeds, and print tables in Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.long_tail", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
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
        print(f"\nSeed {seed}\n\n{composed_table(outcomes[seed])}\n\n{selection_table(outcomes[seed])}")
    if options.json:
        figures = {seed: asdict(outcome) for seed, outcome in outcomes.items()}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def composed_table(outcome: Outcome) -> str:
    """Lay out what vectors are worth, by where they come from."""
    lines = ["| vectors of the people asked about | accuracy, % |", "|---|---|"]
    lines += [f"| {name} | {_percent(figure)} |" for name, figure in outcome.composed.items()]
    n = next(iter(outcome.composed.values())).n
    lines += [
        "",
        f"n = {n} questions, {outcome.neighbours:.1f} triples for each person, {outcome.missing} without any.",
    ]
    return "\n".join(lines)


def selection_table(outcome: Outcome) -> str:
    """Lay out what is left of mentions, and what that does in each band."""
    bands = [band for band in BANDS if band in outcome.rows]
    head = ["mapping tuned on", "vectors at", "share", *(f"{band}, n = {outcome.rows[band]}" for band in bands)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines.append(f"| | no mention | 0 % | {' | '.join(_percent(outcome.without[band]) for band in bands)} |")
    for tuning, selections in outcome.selections.items():
        for name, found in selections.items():
            cells = [f"{_percent(found.accuracy[band])}; {_change(found.change.get(band))}" for band in bands]
            lines.append(f"| {tuning} | {name} | {100 * found.share:.0f} % | {' | '.join(cells)} |")
    last = f"counted fewer than {RARER_THAN} times, shuffled"
    lines.append(f"| the long tail | {last} | | {' | '.join(_percent(outcome.shuffled[band]) for band in bands)} |")
    return "\n".join(lines)


def _percent(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{100 * figure.value:.1f}"
    return f"{100 * figure.value:.1f} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def _change(figure: Figure | None) -> str:
    if figure is None:
        return ""
    if figure.low is None or figure.high is None:
        return f"{100 * figure.value:+.1f}"
    return f"{100 * figure.value:+.1f} ({100 * figure.low:+.1f} to {100 * figure.high:+.1f})"


if __name__ == "__main__":
    main()
