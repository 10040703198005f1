"""``python -m examples.domains routing --seed 0`` and ``python -m examples.domains drift --seed 2``.

``routing``: one frozen checkpoint, a plugin for each of three invented domains that share names, switched by hand,
attached together, and routed by what they link. ``drift``: a follower on an invented stream of features that turn away
from their source. ``sentences``: the same on invented reviews, read by all-MiniLM-L6-v2. ``apart``: on such reviews
whose domains share no words.

A few minutes a seed on one thread. ``--json FILE`` keeps every figure.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from examples.domains import routing, stream
from examples.domains.tables import routing_table, stream_table


def main(
    arguments: list[str] | None = None,
    *,
    routing_settings: routing.Settings | None = None,
    stream_settings: stream.Settings | None = None,
) -> None:
    """Run a part for some seeds, and print tables in Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.domains", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("routing", *stream.KINDS))
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    outcomes: dict[int, Any] = {}
    for seed in options.seed:
        began = time.monotonic()

        def say(what: str, began: float = began) -> None:
            print(f"[{time.monotonic() - began:.0f} s] {what}", file=sys.stderr, flush=True)

        if options.part == "routing":
            outcomes[seed] = routing.run(routing_settings or routing.Settings(), seed, say)
            print(f"\nSeed {seed}\n\n{routing_table([outcomes[seed]])}", flush=True)
        else:
            outcomes[seed] = stream.run(options.part, stream_settings or stream.Settings(), seed, say)
            for order, report in outcomes[seed].items():
                print(f"\nSeed {seed}, {order}\n\n{report.to_markdown()}", flush=True)
        say("done")
    if options.part == "routing" and len(outcomes) > 1:
        print(f"\nMeans over seeds (lowest to highest)\n\n{routing_table(list(outcomes.values()))}")
    if options.part != "routing":
        for order in next(iter(outcomes.values())):
            print(f"\n{order}, means over seeds (lowest to highest)\n\n{stream_table(outcomes, order)}")
    if options.json:
        figures = {seed: _plain(outcome) for seed, outcome in outcomes.items()}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _plain(outcome: Any) -> dict[str, Any]:
    if isinstance(outcome, routing.Outcome):
        return asdict(outcome)
    return {order: report.to_dict() for order, report in outcome.items()}


if __name__ == "__main__":
    main()
