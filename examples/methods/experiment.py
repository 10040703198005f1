"""Every injection method on the same frozen reader, with facts about people whom it has never met.

Plugins are trained on questions about some people and measured on others. Beside the plugin: nothing, the same plugin
with what its entries say under other entries, random vectors, and the description pasted into the text.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments, set_seed

from examples.methods.world import Person, description, make_world, questions, split
from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer, Report, evaluate
from knowledge_plugin.building import key_value_vectors
from knowledge_plugin.injection.hook import find_hooks
from knowledge_plugin.injection.layer_hook import LayerHook
from knowledge_plugin.injection.word_vectors import WordEncoder
from knowledge_plugin.objectives.collator import LinkingCollator

CONDITIONS = ("none", "plugin", "shuffled", "random", "text")


@dataclass(frozen=True)
class Case:
    """One method, and how it is made and trained.

    Args:
        method: Its name in the registry.
        settings: Of :meth:`KnowledgePlugin.for_model`.
        objective: Of the trainer.
        keyed: Whether vectors are keys and values side by side.
        longer: How many times as many epochs as others; what learns to look at entries by attention learns slowly.
    """

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    objective: str = "task"
    keyed: bool = True
    longer: int = 1


CASES: dict[str, Case] = {
    "map-tuning": Case("map-tuning", keyed=False),
    "passage, 1 token": Case("passage", {"tokens": 1}, keyed=False),
    "passage, 4 tokens": Case("passage", {"tokens": 4}, keyed=False),
    "passage, 1 token, distilled": Case("passage", {"tokens": 1}, "distil", keyed=False),
    "memory": Case("memory", {"layers": [0]}),
    "kformer": Case("kformer", {"layers": [0, 1, 2], "top": 1}),
    "kb-attention": Case("kb-attention", {"layers": [1]}, longer=4),
}


@dataclass(frozen=True)
class Settings:
    """How much of everything; smaller ones serve the tests."""

    people: int = 1000
    held_out: int = 120
    epochs: float = 5
    rate: float = 3e-3
    batch_size: int = 32
    resamples: int = 1000


@dataclass(frozen=True)
class Finding:
    """What came of one method.

    Args:
        report: Of people held out, of the knowledge base it was trained with.
        swapped: The same plugin, untouched, with a knowledge base of people of another world.
        found: How often the entry of the person asked about is what is looked at first, by chosen layer, at the last
            token of the text; ``None`` for methods that are told where it is.
        seconds: Of training.
    """

    report: Report
    swapped: Report
    found: list[float] | None
    seconds: float


def make_knowledge_base(people: Sequence[Person], encode: WordEncoder, keyed: bool) -> tuple[KnowledgeBase, int]:
    """Return people as a knowledge base, and how wide a key is.

    A key is the mean word embedding of a name, a value that of the four words that are known of a person, and each
    number has mean 0 and variance 1 over all people.
    """
    words = [Entity(person.entity_id, person.name, description=" ".join(person.facts.values())) for person in people]
    vectors, key_dim = key_value_vectors(words, encode)
    vectors = (vectors - vectors.mean(0)) / vectors.std(0).clamp(min=1e-6)
    entities = [Entity(person.entity_id, person.name, description=description(person)) for person in people]
    return KnowledgeBase.from_entities(entities, vectors if keyed else vectors[:, key_dim:], name="people"), key_dim


def train(
    case: Case, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int, settings: Settings,
    collator: LinkingCollator | None = None,
) -> tuple[KnowledgePlugin, float]:  # fmt: skip
    """Return a plugin that was trained with questions about the people of a world who are not held out, and seconds."""
    world = make_world(settings.people, seed)
    seen, _ = split(world, settings.held_out, seed)
    kb, key_dim = make_knowledge_base(list(world), WordEncoder(model, tokenizer), case.keyed)
    set_seed(seed)
    keyed = {"key_dim": key_dim} if case.keyed else {}
    plugin = KnowledgePlugin.for_model(model, kb, tokenizer, method=case.method, **case.settings, **keyed)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=case.longer * settings.epochs, learning_rate=settings.rate, warmup_steps=20,
            seed=seed, per_device_train_batch_size=settings.batch_size, report_to="none", disable_tqdm=True,
            save_strategy="no", logging_strategy="no", use_cpu=True,
        )  # fmt: skip
        trainer = MapTuningTrainer(
            model,
            arguments,
            plugin=plugin,
            objective=case.objective,
            processing_class=tokenizer,
            train_dataset=questions(seen),
            data_collator=collator,
        )
        began = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - began
    return plugin, seconds


def run(
    case: Case, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int, settings: Settings | None = None
) -> Finding:
    """Train a plugin with questions about some people, and ask it about others.

    Args:
        case: Which method.
        model: The frozen reader.
        tokenizer: Its tokenizer.
        seed: Of the world, of who is held out, of the weights and of the order of rows.
        settings: How much of everything.
    """
    settings = settings or Settings()
    encode = WordEncoder(model, tokenizer)
    world = make_world(settings.people, seed)
    _, unseen = split(world, settings.held_out, seed)
    plugin, seconds = train(case, model, tokenizer, seed, settings)
    report = _evaluate(plugin, model, tokenizer, unseen, settings)
    found = _found(plugin, model, tokenizer, unseen) if case.keyed else None
    # People of another seed's world: neither names nor facts are those that it was trained with.
    others = list(make_world(settings.people, seed + 1000))
    plugin.swap(make_knowledge_base(others, encode, case.keyed)[0])
    swapped = _evaluate(plugin, model, tokenizer, others[: settings.held_out], settings)
    return Finding(report, swapped, found, seconds)


def _evaluate(
    plugin: KnowledgePlugin,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    people: Sequence[Person],
    settings: Settings,
) -> Report:
    return evaluate(
        plugin, model, tokenizer, questions(people, [0]), controls=tuple(c for c in CONDITIONS if c != "plugin"),
        resamples=settings.resamples, progress=False, probe=False,
    )  # fmt: skip


def _found(
    plugin: KnowledgePlugin, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, people: Sequence[Person]
) -> list[float]:
    """Return for each layer how often the right entry is looked at first, at the last token of a question."""
    hits: list[list[bool]] = []
    with plugin.attach(model, tokenizer) as (_, attached):
        (hook,) = find_hooks(model)
        assert isinstance(hook, LayerHook)
        for row in questions(people, [0]):
            with torch.no_grad(), hook.logging() as log:
                model(**attached(row["text"], return_tensors="pt"))
            right = plugin.knowledge_base.row(row["mentions"][0][2])
            first = [rows.reshape(-1, rows.shape[-1])[-1, 0] for rows in log[0].rows]
            hits.append([int(each) == right for each in first])
    return [sum(layer) / len(layer) for layer in zip(*hits, strict=True)]
