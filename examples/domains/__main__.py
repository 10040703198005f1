"""``python -m examples.domains routing --seed 0`` and ``python -m examples.domains stream --seed 0``.

``routing``: one frozen checkpoint, a plugin for each of three invented domains that share names, switched by hand,
attached together, and routed by what they link.

``--json FILE`` keeps every figure with its interval.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from examples.domains import routing
from examples.domains.tables import routing_table


def main(arguments: list[str] | None = None, *, routing_settings: routing.Settings | None = None) -> None:
    """Run for some seeds, and print tables in Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.domains", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("routing",))
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    outcomes = {}
    for seed in options.seed:
        began = time.monotonic()

        def say(what: str, began: float = began) -> None:
            print(f"[{time.monotonic() - began:.0f} s] {what}", file=sys.stderr, flush=True)

        outcomes[seed] = routing.run(routing_settings or routing.Settings(), seed, say)
        say("done")
        print(f"\nSeed {seed}\n\n{routing_table([outcomes[seed]])}", flush=True)
    if len(outcomes) > 1:
        print(f"\nMeans over seeds (lowest to highest)\n\n{routing_table(list(outcomes.values()))}")
    if options.json:
        figures = {seed: asdict(outcome) for seed, outcome in outcomes.items()}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
