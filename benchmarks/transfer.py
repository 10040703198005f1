"""``python -m benchmarks.transfer``: does one mapping help checkpoints that it was never trained against?

A mapping is tuned against one fine-tuned MiniLM of the geography demo, and then attached, unchanged, to others of the
family: fine-tuned in full with another seed, by LoRA, and by their biases alone (BitFit). Its controls are mappings
that were tuned the same way on shuffled and on random vectors. Ten minutes a seed on two cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase, Trainer, TrainingArguments, set_seed

from benchmarks.results import machine, save
from examples.geography.checkpoint import MAX_LENGTH, fine_tune, load_base, predict
from examples.geography.data import Example, build_task, load_geonames
from examples.geography.experiment import Settings, make_knowledge_base, map_tune
from knowledge_plugin import KnowledgePlugin, align
from knowledge_plugin.evaluation import random, shuffled

# Adapters want larger steps than whole models; BitFit the largest.
LORA_RATE, BITFIT_RATE = 2e-3, 4e-3
CHECKPOINTS = {
    "tuned against": "fine-tuned, the one that the mapping was tuned against",
    "full": "fine-tuned with another seed",
    "lora": "LoRA",
    "bitfit": "BitFit",
}
CONDITIONS = ("none", "tuned", "shuffled", "random", "aligned")


def measure(settings: Settings, seed: int) -> dict:
    """Return the accuracy of every checkpoint in every condition, for one seed.

    Returns:
        ``accuracy[checkpoint][condition]`` from 0 to 1, ``gain[checkpoint]``: tuned minus shuffled, with the ends of
        its 95 % bootstrap interval over the cities of the test, of which each has one sentence.
    """
    began = time.monotonic()
    geonames = load_geonames(settings.min_population)
    task = build_task(geonames, seed=seed, countries=settings.countries, cities=settings.cities)
    kb = make_knowledge_base(geonames, "full", settings, seed)
    _say(f"knowledge base of {len(kb)}", began)
    makers: dict[str, Callable[[], tuple[nn.Module, PreTrainedTokenizerBase]]] = {
        "tuned against": lambda: _fully(task.countries, task.train, settings, seed),
        "full": lambda: _fully(task.countries, task.train, settings, seed + 100),
        "lora": lambda: _adapted(task.countries, task.train, settings, seed + 200, "lora"),
        "bitfit": lambda: _adapted(task.countries, task.train, settings, seed + 300, "bitfit"),
    }
    wanted = np.array([example.label for example in task.test])
    plugins: dict[str, KnowledgePlugin] = {}
    right: dict[str, dict[str, np.ndarray]] = {}
    for name, make in makers.items():
        model, tokenizer = make()
        if not plugins:
            for condition, vectors in {
                "tuned": kb, "shuffled": shuffled(kb, seed), "random": random(kb, seed)
            }.items():  # fmt: skip
                plugins[condition] = map_tune(
                    vectors, model, tokenizer, task.mapping, mapping="mlp", settings=settings, seed=seed
                )
            plugins["aligned"] = KnowledgePlugin.for_model(model, kb, tokenizer, mapping="affine")
            align(plugins["aligned"], model, tokenizer)
        texts = [example.text for example in task.test]
        right[name] = {"none": np.array(predict(model, tokenizer, texts)) == wanted}
        for condition, plugin in plugins.items():
            with plugin.attach(model, tokenizer) as attachment:
                right[name][condition] = np.array(predict(*attachment, texts)) == wanted
        _say(name + ": " + ", ".join(f"{key} {100 * value.mean():.1f}" for key, value in right[name].items()), began)
    return {
        "seed": seed,
        "n": len(wanted),
        "accuracy": {name: {key: float(value.mean()) for key, value in row.items()} for name, row in right.items()},
        "gain": {name: _interval(row["tuned"], row["shuffled"], seed) for name, row in right.items()},
        "seconds": time.monotonic() - began,
    }


def _fully(countries: Sequence[str], examples: Sequence[Example], settings: Settings, seed: int) -> tuple:
    model, tokenizer = load_base(countries, seed)
    return fine_tune(model, tokenizer, examples, epochs=settings.fine_tune_epochs, seed=seed), tokenizer


def _adapted(countries: Sequence[str], examples: Sequence[Example], settings: Settings, seed: int, how: str) -> tuple:
    """Train LoRA matrices, or the biases, and the head; nothing else."""
    from peft import LoraConfig, TaskType, get_peft_model

    base, tokenizer = load_base(countries, seed)
    set_seed(seed)
    model: nn.Module = base
    if how == "lora":
        targets = ["query", "key", "value", "dense"]
        model = get_peft_model(base, LoraConfig(TaskType.SEQ_CLS, r=16, lora_alpha=32, target_modules=targets))
    else:
        for name, parameter in base.named_parameters():
            parameter.requires_grad_(name.endswith("bias") or name.startswith("classifier"))
    rows = [
        tokenizer(example.text, truncation=True, max_length=MAX_LENGTH) | {"labels": example.label}
        for example in examples
    ]
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        arguments = TrainingArguments(
            folder,
            num_train_epochs=settings.fine_tune_epochs,
            per_device_train_batch_size=16,
            learning_rate=LORA_RATE if how == "lora" else BITFIT_RATE,
            warmup_steps=0.1,
            dataloader_pin_memory=torch.cuda.is_available(),
            seed=seed,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
        )
        Trainer(
            model=model, args=arguments, train_dataset=rows, data_collator=DataCollatorWithPadding(tokenizer)
        ).train()  # type: ignore[arg-type]
    return model.eval().requires_grad_(False), tokenizer


def _interval(tuned: np.ndarray, control: np.ndarray, seed: int, draws: int = 2_000) -> list[float]:
    """Return the mean difference, and the ends of its 95 % interval."""
    difference = tuned.astype(float) - control.astype(float)
    rng = np.random.default_rng(seed)
    means = [rng.choice(difference, len(difference)).mean() for _ in range(draws)]
    return [float(difference.mean()), *(float(end) for end in np.quantile(means, [0.025, 0.975]))]


def _say(text: str, began: float) -> None:
    print(f"[{time.monotonic() - began:.0f} s] {text}", file=sys.stderr, flush=True)


def show(results: Sequence[dict]) -> None:
    """Print accuracies in percent, means over the seeds."""
    first = results[0]
    title = f"Country of a city never seen in training, n = {first['n']} a seed, {len(results)} seed(s), percent"
    table = Table("checkpoint", *CONDITIONS, "tuned - shuffled (95 %, seed 0)", title=title, title_justify="left")
    for name, words in CHECKPOINTS.items():
        means = [np.mean([result["accuracy"][name][key] for result in results]) for key in CONDITIONS]
        gain, low, high = (100 * value for value in first["gain"][name])
        table.add_row(words, *(f"{100 * value:.1f}" for value in means), f"{gain:+.1f} ({low:+.1f} to {high:+.1f})")
    Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many (default: 1)")
    arguments = parser.parse_args()
    settings = Settings()
    results = [measure(settings, seed) for seed in range(arguments.seeds)]
    print(machine())
    show(results)
    path = Path("runs/benchmarks/transfer.json")
    print(f"results: {save([{'settings': asdict(settings), **result} for result in results], path)}")


if __name__ == "__main__":
    main()
