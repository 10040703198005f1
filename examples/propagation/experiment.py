"""A plugin that was tuned on other people's definitions, asked about people whom nothing was trained on."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase, TrainingArguments, set_seed

from examples.propagation.checkpoint import Size, make_tokenizer, train_checkpoint
from examples.propagation.files import write_ecbd, write_inferences
from examples.propagation.world import KINDS, Person, make_people, questions
from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer
from knowledge_plugin.building.embedders import Embedding, Source
from knowledge_plugin.evaluation.propagation import PropagationReport, propagation, read_probes
from knowledge_plugin.injection.word_vectors import WordEncoder

# What a mapping is tuned on: what definitions say, or also what follows.
TUNED_ON = {"what is said": ("explicit",), "what is said, and what follows": KINDS}


@dataclass(frozen=True)
class Settings:
    """How much of everything; the defaults are the example's, smaller ones serve the tests."""

    people: int = 600
    asked: int = 60
    popular: int = 12
    size: Size = field(default_factory=Size)
    epochs: float = 5  # half as many over twice as many rows
    rate: float = 3e-3
    edits: int = 2
    resamples: int = 1000


@dataclass(frozen=True)
class Definitions:
    """An embedder: the mean word embedding of a definition, to the scale of those that a mapping was tuned with.

    Args:
        encode: Of the frozen model.
        mean: Of the definitions tuned with, ``[width]``.
        scale: Their standard deviation, ``[width]``.
    """

    encode: WordEncoder
    mean: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def fitted(cls, encode: WordEncoder, texts: Sequence[str]) -> Definitions:
        vectors = encode(texts)
        return cls(encode, vectors.mean(0), vectors.std(0).clamp(min=1e-6))

    def vectors(self, texts: Sequence[str]) -> torch.Tensor:
        return (self.encode(texts) - self.mean) / self.scale

    def __call__(self, source: Source) -> Embedding:
        texts = source.entities["description"].to_pylist()
        return Embedding(source.entities["id"].to_pylist(), self.vectors(texts).numpy())


def run(settings: Settings, seed: int, say: Callable[[str], None] = lambda _: None) -> dict[str, PropagationReport]:
    """Train a decoder, tune two mappings, and ask; return a report for each mapping and each task."""
    popular = make_people(settings.popular, seed, foreign=True, prefix="popular")
    everyone = make_people(settings.people + settings.asked, seed)
    tuned, asked = everyone[: settings.people], everyone[settings.people :]
    tokenizer = make_tokenizer()
    say("training a decoder")
    model = train_checkpoint(tokenizer, popular, seed, settings.size, say)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        write_inferences(asked, Path(folder))
        write_ecbd(asked, popular, Path(folder), seed)
        for name, kinds in TUNED_ON.items():
            say(f"tuning a mapping on {name}")
            plugin, embedder = tune(model, tokenizer, tuned, kinds, seed, settings)
            for task in ("entity-inferences", "ecbd"):
                say(f"asking: {task}")
                found[f"{task}, tuned on {name}"] = propagation(
                    plugin, model, tokenizer, read_probes(folder, task), embedder=embedder, edits=settings.edits,
                    seed=seed, resamples=settings.resamples, progress=False, batch_size=128,
                )  # fmt: skip
    return found


def tune(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, people: Sequence[Person], kinds: Sequence[str],
    seed: int, settings: Settings,
) -> tuple[KnowledgePlugin, Definitions]:  # fmt: skip
    """Map-tune through the frozen decoder: vectors are what an embedder makes of the definitions of these people."""
    texts = [person.definition for person in people]
    embedder = Definitions.fitted(WordEncoder(model, tokenizer), texts)
    entities = [Entity(person.entity_id, person.name, description=person.definition) for person in people]
    kb = KnowledgeBase.from_entities(entities, embedder.vectors(texts), name="an invented world")
    set_seed(seed)
    plugin = KnowledgePlugin.for_model(model, kb, tokenizer)
    # Trainer makes its folder even when it saves nothing, and reports its times on stdout.
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        arguments = TrainingArguments(
            folder, learning_rate=settings.rate, num_train_epochs=settings.epochs / len(kinds), warmup_steps=20,
            per_device_train_batch_size=32, dataloader_pin_memory=False, seed=seed, use_cpu=True, save_strategy="no",
            logging_strategy="no", report_to="none", disable_tqdm=True,
        )  # fmt: skip
        MapTuningTrainer(
            model=model, plugin=plugin, objective="task", processing_class=tokenizer, args=arguments,
            train_dataset=[question.row for question in questions(people, kinds)],
        ).train()  # fmt: skip
    return plugin, embedder
