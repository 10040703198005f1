"""Three experiments on one frozen checkpoint: what it knows, what a plugin brings to it, what a LoRA takes up."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch.nn import functional
from transformers import Trainer, TrainingArguments, set_seed

from examples.describing.checkpoint import make_tokenizer, train_checkpoint
from examples.describing.world import ASKED, KEPT, TOLD, Person, World, about, knowledge_base, make_world, reading
from examples.describing.world import strangers as invent
from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer, evaluate
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


@dataclass(frozen=True)
class Outcome:
    """What one seed came to.

    Args:
        knows: What a decoder reads off the states of the frozen checkpoint alone, by whose mentions they are.
        plugins: Accuracy of the frozen head about people held out, by objective and condition.
        told: What the decoder reads off the states of people held out, with the plugin attached.
        baked: Accuracy of the frozen head, by what a LoRA learned and by who is asked about.
        new_head: The same of a head that is trained anew on states of half of the people.
        baked_told: What the decoder of a LoRA reads off the states of people, by who they are.
    """

    knows: Mapping[str, Told]
    plugins: Mapping[str, Mapping[str, Figure]]
    told: Mapping[str, Told]
    baked: Mapping[str, Mapping[str, Figure]]
    new_head: Mapping[str, Figure]
    baked_told: Mapping[str, Mapping[str, Told]]


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
                train_dataset=[row if objective == "describe" else _plain(row) for row in rows],
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
            states = states_at(model(**batch, output_hidden_states=True), places)
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


def run(settings: Settings, seed: int, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Do the three experiments for one seed."""
    say("training a checkpoint")
    bench = Bench(settings, seed)
    world = bench.world
    say("probing: what a decoder reads off its states")
    half = len(world.read) // 2
    before = [f"{TOLD} . {sentence}" for sentence in SEEN]
    lessons = [*about(bench.strangers[:-100], before, 2, seed), *3 * about(world.read[:half], SEEN, 4, seed)]
    reader = bench.described(bench.language_model, lessons, settings.probe_steps)
    others = {"read of": world.read[half:], "never read of": world.held_out}
    knows = {name: bench.told(reader, bench.language_model, people) for name, people in others.items()}
    knows["never read of, but told of in the same text"] = bench.told(
        reader, bench.language_model, bench.strangers[-100:], sentences=[f"{TOLD} . {sentence}" for sentence in KEPT]
    )
    plugins, told = _plugins(bench, reader, say)
    baked, new_head, baked_told = _baked(bench, reader, say)
    return Outcome(knows, plugins, told, baked, new_head, baked_told)


def _plugins(bench: Bench, reader: Describing, say: Callable[[str], None]) -> tuple[dict, dict]:
    test = [_plain(row) for row in about(bench.world.held_out, KEPT, 2, bench.seed + 3)]
    plugins, told = {}, {}
    for name, objective, decoder in (
        ("task", "task", None),
        ("mention-mlm", "mention-mlm", None),
        ("describe", "describe", None),
        (FIRST, "describe", reader),
    ):
        say(f"map-tuning: {name}")
        plugin, side = bench.tuned(objective, decoder)
        report = evaluate(
            plugin, bench.classifier, bench.tokenizer, test, controls=("none", "shuffled", "random", "text"),
            probe=False, resamples=bench.settings.resamples, seed=bench.seed, progress=False,
        )  # fmt: skip
        conditions = ("none", "plugin", "shuffled", "random", "text")
        plugins[name] = {c: Figure(r.value, r.low, r.high, r.rows) for c in conditions if (r := report[c])}
        if side is not None:
            with plugin.attach(bench.language_model, bench.tokenizer) as attachment:
                collator = DescribingCollator()
                collator.use(attachment)
                told[name] = bench.told(side, bench.language_model, bench.world.held_out, collator)
    return plugins, told


def _baked(bench: Bench, reader: Describing, say: Callable[[str], None]) -> tuple[dict, dict, dict]:
    settings, world = bench.settings, bench.world
    rows = about(world.tuned, SEEN, 4, bench.seed + 1)
    # The facts of others: every text is there, and nothing in it is true.
    facts = {p.entity_id: q.triples for p, q in zip(world.tuned, (*world.tuned[1:], world.tuned[0]), strict=True)}
    wrong = [row | {"triples": [[i, r, o] for _, r, o in facts[i]]} for row in rows for i in [row["mentions"][0][2]]]
    people = {"trained on": world.tuned, "held out": world.held_out, "read of": world.read}
    heads = {"no LoRA": {name: bench.asked(bench.classifier, each) for name, each in people.items()}}
    anew, told = {"no LoRA": _new_head(bench, bench.classifier)}, {}
    for name, lessons, decoder in (
        ("describe", rows, None),
        (FIRST, rows, reader),
        ("describe, facts of others", wrong, None),
        ("masked language model", about(world.tuned, (*SEEN, *[TOLD] * 4), 8, bench.seed + 1), None),
    ):
        say(f"LoRA: {name}")
        masked = name == "masked language model"
        model = _with_lora(bench.language_model if masked else bench.classifier, bench.seed)
        if masked:
            _mask(bench, model, lessons)
            weights = get_peft_model_state_dict(model)
            model.unload()
            model = _with_lora(bench.classifier, bench.seed)
            set_peft_model_state_dict(model, weights)
        else:
            side = bench.described(model, lessons, settings.lora_steps, decoder)
            told[name] = {of: bench.told(side, model, each) for of, each in people.items()}
        heads[name] = {of: bench.asked(model, each) for of, each in people.items()}
        anew[name] = _new_head(bench, model)
        model.unload()
        bench.classifier.requires_grad_(False)
        bench.language_model.requires_grad_(False)
    return heads, anew, told


def _with_lora(model: Any, seed: int) -> PeftModel:
    set_seed(seed)
    targets = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "layer.0.output.dense"]
    return get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=[*targets, "layer.1.output.dense"]))


def _mask(bench: Bench, model: PeftModel, rows: Sequence[dict]) -> None:
    """Train a LoRA to fill in masks, in sentences that say the same facts."""

    def collate(chosen: Sequence[dict]) -> dict[str, torch.Tensor]:
        batch = dict(bench.tokenizer([row["text"] for row in chosen], padding=True, return_tensors="pt"))
        ids, mask = batch["input_ids"], bench.tokenizer.mask_token_id
        hidden = (torch.rand(ids.shape) < 0.15) & (ids > mask)
        return batch | {"input_ids": ids.masked_fill(hidden, mask), "labels": ids.masked_fill(~hidden, -100)}

    set_seed(bench.seed)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        arguments = bench.arguments(folder, bench.settings.lora_steps, bench.settings.rate)
        Trainer(model, arguments, data_collator=collate, train_dataset=list(rows)).train()


def _new_head(bench: Bench, model: Any) -> Figure:
    """Train a linear head on the mentions' states of half of the people who were trained on; ask about the others."""
    collator = DescribingCollator().read_alone(bench.tokenizer, bench.everybody, None)
    people = bench.world.tuned
    cut = len(people) // 2
    parts = []
    for part in (about(people[:cut], SEEN, 4, bench.seed), about(people[cut:], KEPT, 2, bench.seed)):
        batch, found = collator.encode(part)
        places = torch.tensor([[i, place.first, place.last] for i, row in enumerate(found) for place in row])
        with torch.no_grad():
            states = states_at(model.eval()(**batch, output_hidden_states=True), places).flatten(1)
        parts.append((torch.cat([states, torch.ones(len(states), 1)], 1), torch.tensor([r["label"] for r in part])))
    (x, y), (asked, wanted) = parts
    targets = functional.one_hot(y, bench.settings.countries).float()
    ridge = torch.linalg.solve(x.T @ x + 1.0 * torch.eye(x.shape[1]), x.T @ targets)
    right = (asked @ ridge).argmax(1) == wanted
    rows = about(people[cut:], KEPT, 2, bench.seed)
    return bench.figure(right.numpy(), [row["mentions"][0][2] for row in rows])


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": row["text"], "label": row["label"], "mentions": row["mentions"]}
