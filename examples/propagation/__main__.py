"""``python -m examples.propagation --seed 0 1``: does a frozen decoder draw conclusions from what is plugged in?

A small decoder learns to read definitions and to say what follows from them, and is frozen. A mapping is tuned on
definitions of some people; then the decoder is asked about others, whose definitions it gets as text, as a vector, or
not at all. ``--json FILE`` keeps every figure.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from examples.propagation.experiment import Settings, run


def main(arguments: list[str] | None = None, settings: Settings | None = None) -> None:
    """Run for some seeds, and print the reports in Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.propagation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = {}
    for seed in options.seed:
        began = time.monotonic()

        def say(what: str, began: float = began) -> None:
            print(f"[{time.monotonic() - began:.0f} s] {what}", file=sys.stderr, flush=True)

        reports = run(settings or Settings(), seed, say)
        say("done")
        for name, report in reports.items():
            print(f"\n# Seed {seed}, {name}\n\n{report.to_markdown()}", flush=True)
        found[seed] = {name: report.to_dict() for name, report in reports.items()}
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
