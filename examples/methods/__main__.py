"""``python -m examples.methods --seeds 0 1``: every injection method on the same frozen reader, beside its controls."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from examples.methods.experiment import CASES, CONDITIONS, Finding, Settings, run
from examples.methods.reader import Settings as ReaderSettings
from examples.methods.reader import reader
from knowledge_plugin.evaluation.report import Result


def main(argv: list[str] | None = None) -> None:
    """Train a reader for each seed and a plugin of each method, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m examples.methods", description=__doc__)
    parser.add_argument("--methods", nargs="+", choices=sorted(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--readers", type=Path, help="folder in which readers are kept; trained anew if not given")
    parser.add_argument("--json", type=Path, help="file to write what was measured to")
    parser.add_argument("--quick", action="store_true", help="too little of everything, to see that it runs")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    settings = Settings(people=24, held_out=8, epochs=0.5, resamples=20) if arguments.quick else Settings()
    small = ReaderSettings(layers=4, steps=4) if arguments.quick else ReaderSettings()
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            model, tokenizer = reader((arguments.readers or Path(folder)) / f"reader-{seed}", seed, small)
            for name in arguments.methods:
                line = {"name": name, "seed": seed} | as_numbers(run(CASES[name], model, tokenizer, seed, settings))
                lines.append(line)
                print(in_words(line), flush=True)
                if arguments.json:
                    arguments.json.write_text(json.dumps(lines, indent=1) + "\n")


def as_numbers(finding: Finding) -> dict[str, Any]:
    """Return what was found, with accuracies and their intervals in percent."""
    reports = {"held out": finding.report, "swapped": finding.swapped}
    accuracy = {of: {each: _percent(report[each]) for each in CONDITIONS} for of, report in reports.items()}
    found = None if finding.found is None else [round(100 * share, 1) for share in finding.found]
    return {"accuracy": accuracy, "found first": found, "questions": finding.report.rows, "seconds": finding.seconds}


def _percent(result: Result) -> list[float | None]:
    return [None if each is None else round(100 * each, 1) for each in (result.value, result.low, result.high)]


def in_words(line: dict[str, Any]) -> str:
    """Return one line of what was found."""
    held, swapped = line["accuracy"]["held out"], line["accuracy"]["swapped"]
    value, low, high = held["plugin"]
    rest = ", ".join(f"{name} {held[name][0]}" for name in CONDITIONS if name != "plugin")
    found = "" if line["found first"] is None else f"; right entry first in {line['found first']} %"
    return (
        f"seed {line['seed']}, {line['name']}: {value} % ({low} to {high}); {rest}; swapped {swapped['plugin'][0]}"
        f"{found}; {line['questions']} questions, {line['seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
