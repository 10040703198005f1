"""``python -m benchmarks.alternatives``: what else one could do with a table of entities and a frozen checkpoint.

The same checkpoint of the geography demo, the same questions about cities that it never saw, and the same knowledge:
nothing; the description of the city pasted into the text, found by words (BM25) or by sentence vectors; a LoRA trained
on the descriptions; the plugin, aligned and map-tuned, and map-tuned on shuffled vectors. What it gains, and what it
costs: speed, memory, time to prepare, time to add an entity. A quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import copy
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, TaskType, get_peft_model
from rich.console import Console
from rich.table import Table
from torch import nn
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase, Trainer, TrainingArguments, set_seed

from benchmarks.results import machine, save
from benchmarks.retrievers import BM25, Dense
from examples.geography.checkpoint import MAX_LENGTH, predict
from examples.geography.data import Task, build_entities, build_task, load_geonames
from examples.geography.experiment import Settings, make_checkpoint, make_knowledge_base, map_tune
from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, align
from knowledge_plugin.evaluation import shuffled

KEYS = ("way", "accuracy", "interval", "sentences_a_second", "megabytes", "minutes_to_prepare", "seconds_to_add_one")


@dataclass
class Way:
    """One way to give the checkpoint knowledge.

    Attributes:
        name: For the table.
        predict: From texts to labels.
        megabytes: What it keeps in memory beside the checkpoint.
        minutes: What it took to prepare.
        add: Makes it know one entity more; ``None`` if that is preparing it again.
    """

    name: str
    predict: Callable[[list[str]], list[int]]
    megabytes: float
    minutes: float
    add: Callable[[], object] | None


def measure(settings: Settings, seed: int) -> list[dict]:
    """Return a row for each way, with :data:`KEYS`."""
    geonames = load_geonames(settings.min_population)
    task = build_task(geonames, seed=seed, countries=settings.countries, cities=settings.cities)
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = make_checkpoint(task, settings, seed, Path(folder))
    entities = {variant: build_entities(geonames, variant) for variant in ("full", "strict")}
    found = [_measured(Way("nothing", lambda texts: predict(model, tokenizer, texts), 0, 0, None), task, seed)]
    for variant, words in [("full", "country named"), ("strict", "time zone named")]:
        described = [entity for entity in entities[variant] if entity.description]
        for name, kind in [("BM25", BM25), ("dense", Dense)]:
            found.append(_measured(_retrieval(f"{name}, {words}", kind, described, model, tokenizer), task, seed))
            gc.collect()
    facts = [entity for entity in entities["full"] if entity.description]
    found.append(_measured(_lora(facts, task, model, tokenizer, seed), task, seed))
    for way in _plugins(geonames, task, model, tokenizer, settings, seed):
        found.append(_measured(way, task, seed))
    return found


def _measured(way: Way, task: Task, seed: int) -> dict:
    texts, wanted = [example.text for example in task.test], np.array([example.label for example in task.test])
    way.predict(texts[:64])
    began = time.perf_counter()
    right = (np.array(way.predict(texts)) == wanted).astype(float)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    if way.add is not None:
        way.add()
    added = time.perf_counter() - began if way.add is not None else None
    rng = np.random.default_rng(seed)
    ends = np.quantile([rng.choice(right, len(right)).mean() for _ in range(2_000)], [0.025, 0.975])
    interval = [float(end) for end in ends]
    values = (way.name, float(right.mean()), interval, len(texts) / seconds, way.megabytes, way.minutes, added)
    print(f"{way.name}: {100 * right.mean():.1f} % in {seconds:.1f} s", file=sys.stderr, flush=True)
    return dict(zip(KEYS, values, strict=True)) | {"n": len(texts), "seed": seed}


# ---- retrieval ----------------------------------------------------------------------------------------------------


def _retrieval(
    name: str,
    kind: Callable[[Sequence[str]], BM25 | Dense],
    entities: list[Entity],
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
) -> Way:
    """Paste the description that is found before the text, as one does for a reader."""
    documents = [f"{entity.label}: {entity.description}" for entity in entities]
    began = time.perf_counter()
    retriever = kind(documents)
    minutes = (time.perf_counter() - began) / 60

    def answer(texts: list[str]) -> list[int]:
        best = [i for first in range(0, len(texts), 128) for i in retriever(texts[first : first + 128])]
        return predict(model, tokenizer, [f"{documents[i]} {text}" for i, text in zip(best, texts, strict=True)])

    add: Callable[[], object] = lambda: kind([*documents, "Newtown: City in Nowhere."])  # noqa: E731
    if isinstance(retriever, Dense):
        add = lambda: torch.cat([retriever.vectors, retriever.encode(["Newtown: City in Nowhere."])])  # noqa: E731
    return Way(name, answer, retriever.nbytes / 1e6, minutes, add)


# ---- a LoRA on the facts ------------------------------------------------------------------------------------------


def _lora(entities: list[Entity], task: Task, model: nn.Module, tokenizer: PreTrainedTokenizerBase, seed: int) -> Way:
    """Train low-rank matrices on the descriptions, by the checkpoint's own head: the country that each of them names.

    The descriptions of the cities of the test are among them, as their entities are in the knowledge base. The name of
    the country is cut out, so that there is something to learn: which city is in which country.
    """
    began = time.perf_counter()
    label_of = {country: label for label, country in enumerate(task.countries)}
    rows = []
    for entity in entities:
        country = str(entity.description).removeprefix("City in ").split(" with ")[0]
        if country in label_of:
            text = f"{entity.label} is a city."
            rows.append(tokenizer(text, truncation=True, max_length=MAX_LENGTH) | {"labels": label_of[country]})
    set_seed(seed)
    # The head stays as it is, as all of the checkpoint does.
    config = LoraConfig(TaskType.SEQ_CLS, r=16, lora_alpha=32, target_modules=["query", "key", "value"])
    adapted = get_peft_model(copy.deepcopy(model), config)  # type: ignore[arg-type]
    for name, parameter in adapted.named_parameters():
        parameter.requires_grad_("lora_" in name)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        arguments = TrainingArguments(
            folder,
            num_train_epochs=2,
            per_device_train_batch_size=64,
            learning_rate=2e-3,
            warmup_steps=0.1,
            dataloader_pin_memory=torch.cuda.is_available(),
            seed=seed,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
        )
        collator = DataCollatorWithPadding(tokenizer)
        Trainer(model=adapted, args=arguments, train_dataset=rows, data_collator=collator).train()  # type: ignore[arg-type]
    minutes = (time.perf_counter() - began) / 60
    adapted.eval()
    megabytes = sum(p.nbytes for name, p in adapted.named_parameters() if "lora_" in name) / 1e6
    return Way("LoRA on the facts", lambda texts: predict(adapted, tokenizer, texts), megabytes, minutes, None)


# ---- the plugin ---------------------------------------------------------------------------------------------------


def _plugins(
    geonames: object, task: Task, model: nn.Module, tokenizer: PreTrainedTokenizerBase, settings: Settings, seed: int
) -> list[Way]:
    began = time.perf_counter()
    kb = make_knowledge_base(geonames, "full", settings, seed)  # type: ignore[arg-type]
    embedding = (time.perf_counter() - began) / 60
    ways = []
    for name, vectors, mapping in [
        ("plugin, aligned", kb, "affine"),
        ("plugin, map-tuned", kb, "mlp"),
        ("- on shuffled vectors", shuffled(kb, seed), "mlp"),
    ]:
        began = time.perf_counter()
        if mapping == "affine":
            plugin = KnowledgePlugin.for_model(model, vectors, tokenizer, mapping="affine")
            align(plugin, model, tokenizer)  # type: ignore[arg-type]
        else:
            plugin = map_tune(
                vectors,
                model,
                tokenizer,
                task.mapping,
                mapping="mlp",
                settings=settings,
                seed=seed,  # type: ignore[arg-type]
            )
        minutes = embedding + (time.perf_counter() - began) / 60
        names = vectors.alias_lookup("insensitive")
        size = len(names.trie.tobytes()) + sum(getattr(names, array).nbytes for array in names.arrays)
        size += vectors.index.nbytes + sum(p.nbytes for p in plugin.mapping.parameters())
        ways.append(Way(name, _attached(plugin, model, tokenizer), size / 1e6, minutes, lambda kb=vectors: _add(kb)))
    return ways


def _attached(
    plugin: KnowledgePlugin, model: nn.Module, tokenizer: PreTrainedTokenizerBase
) -> Callable[[list[str]], list[int]]:
    def answer(texts: list[str]) -> list[int]:
        with plugin.attach(model, tokenizer) as attachment:
            return predict(*attachment, texts)

    return answer


def _add(kb: KnowledgeBase) -> None:
    kb.upsert([Entity("new:1", "Newtown")], kb.vectors([0]))
    kb.alias_lookup("insensitive")


def show(rows: Sequence[dict]) -> None:
    """Print the table."""
    first = rows[0]
    title = f"Country of a city never seen in training, n = {first['n']}, seed {first['seed']}"
    table = Table(title=title, title_justify="left")
    for name in ("way", "accuracy, % (95 %)", "sentences/s", "memory, MB", "to prepare, min", "to add one entity, s"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for row in rows:
        low, high = (100 * end for end in row["interval"])
        table.add_row(
            row["way"],
            f"{100 * row['accuracy']:.1f} ({low:.1f}-{high:.1f})",
            f"{row['sentences_a_second']:.0f}",
            f"{row['megabytes']:.1f}",
            f"{row['minutes_to_prepare']:.1f}",
            "-" if row["way"] == "nothing" else _adding(row),
        )
    Console(width=130).print(table)
    print(
        "The descriptions that name the country hold the answer, and the checkpoint has only to find it; those with "
        "the time zone imply it, as the graph does. To add an entity to the plugin takes a vector of it: here a new "
        "embedding of the graph, where the vectors are text embeddings a moment. A LoRA is trained again."
    )


def _adding(row: dict) -> str:
    return "train again" if row["seconds_to_add_one"] is None else f"{row['seconds_to_add_one']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alternatives", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="few cities and countries: to see that it runs")
    arguments = parser.parse_args()
    settings = Settings()
    if arguments.small:
        settings = replace(
            settings, min_population=500_000, graph_epochs=2, fine_tune_epochs=1, countries=3, cities=(6, 4, 3)
        )
    rows = measure(settings, arguments.seed)
    print(machine())
    show(rows)
    print(f"results: {save(rows, Path('runs/benchmarks/alternatives.json'))}")


if __name__ == "__main__":
    main()
