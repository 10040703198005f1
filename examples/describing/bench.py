"""A frozen checkpoint of an invented world, and how things are trained with it and measured."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import TrainingArguments, set_seed

from examples.describing.checkpoint import make_tokenizer, train_checkpoint
from examples.describing.world import ASKED, KEPT, Person, World, about, knowledge_base, make_world, reading
from examples.describing.world import strangers as invent
from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer
from knowledge_plugin.evaluation.bootstrap import Bootstrap
from knowledge_plugin.evaluation.metrics import SummedOutcomes, find_metric
from knowledge_plugin.injection.embeddings import input_embedding
from knowledge_plugin.objectives.describing import Describing, states_at
from knowledge_plugin.objectives.descriptions import DescribingCollator
from knowledge_plugin.training import DescribingTrainer

SEEN = ASKED[:-2]  # in training; the rest is kept for questions
RELATIONS = ("country", "town", "trade")  # in the order of a person's triples
FIRST = "describe, by a decoder that had learned to read this checkpoint, and learns no more"


@dataclass(frozen=True)
class Settings:
    """How much of everything; the defaults are the example's, smaller ones serve the tests."""

    read: int = 150
    tuned: int = 200
    held_out: int = 150
    countries: int = 8
    towns: int = 4
    per_town: int = 60
    width: int = 64
    epochs: int = 10
    dim: int = 32
    noise: float = 0.5
    probe_steps: int = 500
    plugin_steps: int = 300
    lora_steps: int = 500
    rate: float = 3e-3
    resamples: int = 1000


@dataclass(frozen=True)
class Figure:
    """A share with its interval of 95 % over people, and of how many questions."""

    value: float
    low: float | None
    high: float | None
    n: int


Told = Mapping[str, Figure]  # by relation: how often the decoder writes the right object


class Bench:
    """A frozen checkpoint with two heads, and an invented world."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.world: World = make_world(
            read=settings.read, tuned=settings.tuned, held_out=settings.held_out, countries=settings.countries,
            towns=settings.towns, seed=seed,
        )  # fmt: skip
        texts = reading(self.world, settings.per_town, seed)
        self.tokenizer = make_tokenizer(self.world)
        self.classifier, self.language_model = train_checkpoint(
            self.tokenizer, texts, labels=settings.countries, width=settings.width, epochs=settings.epochs, seed=seed
        )
        self.kb = knowledge_base(self.world, settings.dim, settings.noise, seed)
        # Of whom texts tell, once, right before they are named again: everything can be read, and nothing be known.
        self.strangers = invent(self.world, 400, seed + 1)
        self.everybody = KnowledgeBase.from_entities(
            [Entity(p.entity_id, p.name) for p in (*self.world.people, *self.strangers)],
            torch.zeros(len(self.world.people) + len(self.strangers), 1), name="everybody",
        )  # fmt: skip

    def arguments(self, folder: str, steps: int, rate: float) -> TrainingArguments:
        return TrainingArguments(
            folder, learning_rate=rate, max_steps=steps, per_device_train_batch_size=32, seed=self.seed, use_cpu=True,
            dataloader_pin_memory=False, logging_strategy="no", save_strategy="no", report_to="none",
            disable_tqdm=True, remove_unused_columns=False,
        )  # fmt: skip

    def described(self, model: Any, rows: Sequence[dict], steps: int, decoder: Describing | None = None) -> Describing:
        """Train a decoder on a model, which learns too if it has an adapter; a decoder that is given stays as it is."""
        set_seed(self.seed)
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
            trainer = DescribingTrainer(
                model, self.arguments(folder, steps, self.settings.rate), knowledge_base=self.everybody,
                processing_class=self.tokenizer, train_dataset=list(rows),
            )  # fmt: skip
            if decoder is not None:
                trainer.describing = decoder.requires_grad_(False)
            trainer.train()
        return trainer.describing

    def tuned(self, objective: str, decoder: Describing | None = None) -> tuple[KnowledgePlugin, Describing | None]:
        """Tune a mapping on people of whom the checkpoint has not read."""
        rows = about(self.world.tuned, SEEN, 4, self.seed + 1)
        model = self.classifier if objective == "task" else self.language_model
        set_seed(self.seed)
        plugin = KnowledgePlugin.for_model(model, self.kb, self.tokenizer)
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
            trainer = MapTuningTrainer(
                model, self.arguments(folder, self.settings.plugin_steps, self.settings.rate), plugin=plugin,
                objective=objective, processing_class=self.tokenizer,
                train_dataset=[row if objective == "describe" else plain(row) for row in rows],
            )  # fmt: skip
            if decoder is not None:
                trainer.side_modules["describe"] = decoder.requires_grad_(False)
            trainer.train()
        return plugin, dict(trainer.side_modules.items()).get("describe")  # type: ignore[return-value]

    def told(self, side: Describing, model: Any, people: Sequence[Person], collator: DescribingCollator | None = None,
             sentences: Sequence[str] = KEPT) -> Told:  # fmt: skip
        """Return how often a decoder writes the right object, all of which are one word; of 1, 1 and 1."""
        collator = collator or DescribingCollator().read_alone(self.tokenizer, self.everybody, None)
        rows = about(people, sentences, min(2, len(sentences)), self.seed + 2)
        batch = collator(rows)
        places, written, labels = (batch.pop(name) for name in ("places", "written", "labels"))
        model.eval()
        side.eval()
        with torch.no_grad():
            states = states_at(model(**batch, output_hidden_states=True), places, batch["input_ids"])
            guessed = side.decoder(states, written, input_embedding(model).weight).argmax(-1)
        scored = labels != -100
        at = torch.arange(len(labels)), scored.int().argmax(1)
        right = (guessed[at] == labels[at]).reshape(len(rows), len(RELATIONS)).numpy()
        owners = [row["mentions"][0][2] for row in rows]
        return {relation: self.figure(right[:, i], owners) for i, relation in enumerate(RELATIONS)}

    def figure(self, right: np.ndarray, owners: Sequence[str]) -> Figure:
        """Return the share of what is right, with an interval over people."""
        of = {entity: i for i, entity in enumerate(dict.fromkeys(owners))}
        cells = np.stack([right.astype(float), np.ones(len(right))], 1)
        outcomes = SummedOutcomes(find_metric("accuracy"), cells, np.array([of[each] for each in owners]))
        drawn = Bootstrap({"it": outcomes}, len(of), resamples=self.settings.resamples, seed=self.seed)
        return Figure(*drawn.interval("it"), len(right))

    def asked(self, model: Any, people: Sequence[Person], sentences: Sequence[str] = KEPT) -> Figure:
        """Return how often a head names the country of people."""
        rows = about(people, sentences, 2, self.seed + 3)
        right = self.logits(model, rows).argmax(1) == torch.tensor([row["label"] for row in rows])
        return self.figure(right.numpy(), [row["mentions"][0][2] for row in rows])

    def logits(self, model: Any, rows: Sequence[dict]) -> torch.Tensor:
        with torch.no_grad():
            return model.eval()(**self.tokenizer([r["text"] for r in rows], padding=True, return_tensors="pt")).logits


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without its triples."""
    return {"text": row["text"], "label": row["label"], "mentions": row["mentions"]}
