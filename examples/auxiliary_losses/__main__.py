"""``python -m examples.auxiliary_losses --seeds 0 1 2 3 4``: do losses beside the task help map-tuning?

A decoder that reads and knows nobody is frozen. A mapping is tuned on answers about 120 people of a thousand, alone or
with one more loss, and asked about 120 others: decoding of relations (DKPLM), states of the text in context (what is
left of self-feature regularisation), label smoothing. A quarter of an hour a seed, on one thread.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from examples.auxiliary_losses.experiment import ARMS, Bench, Finding, Settings, run
from examples.methods.reader import Settings as ReaderSettings
from examples.methods.reader import reader

Figures = dict[str, dict[str, float]]


def figures(finding: Finding) -> dict[str, float]:
    """Return the accuracy of every condition, and the seconds of training."""
    return {each.condition: each.value for each in finding.report.results} | {"seconds": finding.seconds}


def table(found: Mapping[int, Figures], against: str) -> str:
    """Lay out means over seeds, and what each arm has more than one of them, with the interval of a paired t-test."""
    head = [
        "learned from",
        "plugin",
        "lowest to highest",
        f"more than *{against}*",
        "shuffled",
        "random",
        "trained for",
    ]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name in next(iter(found.values())):
        per_seed = [seed[name] for seed in found.values()]
        mean = {key: float(np.mean([each[key] for each in per_seed])) for key in per_seed[0]}
        values = [100 * each["plugin"] for each in per_seed]
        more = [100 * (seed[name]["plugin"] - seed[against]["plugin"]) for seed in found.values()]
        cells = [name, f"**{100 * mean['plugin']:.1f}**", f"{min(values):.1f} to {max(values):.1f}"]
        cells += ["" if name == against else _with_interval(more)]
        cells += [f"{100 * mean[key]:.1f}" for key in ("shuffled", "random")] + [f"{mean['seconds']:.0f} s"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _with_interval(differences: Sequence[float]) -> str:
    mean = float(np.mean(differences))
    if len(differences) < 2:
        return f"{mean:+.1f}"
    error = float(np.std(differences, ddof=1)) / len(differences) ** 0.5
    half = error * float(stats.t.ppf(0.975, len(differences) - 1))
    return f"{mean:+.1f} ({mean - half:+.1f} to {mean + half:+.1f})"


def main(argv: list[str] | None = None) -> None:
    """Print a line for each run as it ends, and tables."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.auxiliary_losses", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), metavar="ARM")
    parser.add_argument("--json", type=Path, help="where to keep the figures; what is there already is not run again")
    parser.add_argument("--quick", action="store_true", help="too little of everything, to see that it runs")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    settings = Settings(people=24, held_out=8, tuned=8, epochs=1, resamples=20) if options.quick else Settings()
    small = ReaderSettings(layers=2, steps=4) if options.quick else ReaderSettings()
    kept = options.json and options.json.exists()
    found: dict[int, Figures] = {int(k): v for k, v in json.loads(options.json.read_text()).items()} if kept else {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            of_seed = found.setdefault(seed, {})
            if not (left := [name for name in options.arms if name not in of_seed]):
                continue
            bench = Bench(*reader(Path(folder) / f"reader-{seed}", seed, small), seed, settings)
            for name in left:
                of_seed[name] = figures(run(ARMS[name], bench))
                print(f"seed {seed}: {name}: {100 * of_seed[name]['plugin']:.1f} %", flush=True)
                if options.json:
                    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    asked = {seed: {name: found[seed][name] for name in options.arms} for seed in options.seeds}
    first = next(iter(asked.values()))[options.arms[0]]
    print(
        f"\nNothing attached: {100 * first['none']:.1f} %; text in context: {100 * first['text']:.1f} % (first seed)\n"
    )
    print(table(asked, options.arms[0]))


if __name__ == "__main__":
    main()
