"""The comparison: every checkpoint with every injection, and the controls of each."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from examples.paper.checkpoints import make_checkpoint
from examples.paper.heads import Head
from examples.paper.injections import (
    CONTROLS,
    PLUGINS,
    Materials,
    make_plugin,
    mentions_of,
    restricted,
    task_specific,
    with_descriptions,
)
from examples.paper.settings import Settings
from examples.paper.tasks import Task
from knowledge_plugin import KnowledgeBase, KnowledgePlugin

INJECTIONS = ("none", "text", *PLUGINS, "task-specific")


@dataclass(frozen=True)
class Cell:
    """One figure of the table.

    Attributes:
        seed: Of everything random.
        method: How the checkpoint was made.
        injection: What was put beside it, ``"none"`` for nothing.
        control: ``"shuffled"`` or ``"random"`` vectors instead of the real ones, else ``None``.
        value: The metric, from 0 to 1.
        n: How many rows were scored.
        mentions: How many mentions a model reads for these rows.
        linked: How many of them a plugin put an entity before; of descriptions, how many mentions have one.
    """

    seed: int
    method: str
    injection: str
    control: str | None
    value: float
    n: int
    mentions: int
    linked: int


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        methods: Ways to adapt a checkpoint.
        injections: Of ``INJECTIONS``.
        controls: Of ``"shuffled"`` and ``"random"``.
        seeds: Each makes its own checkpoints and plugins.
    """

    methods: Sequence[str]
    injections: Sequence[str]
    controls: Sequence[str] = tuple(CONTROLS)
    seeds: Sequence[int] = (0,)


@dataclass(frozen=True)
class Ingredients:
    """What it is compared with.

    Attributes:
        base: Name or folder of the base model.
        tokenizer: Its tokenizer.
        knowledge_base: Where entities come from.
        corpus: Sentences with mentions, for general map-tuning and PELT.
        descriptions: The text of each entity, for text-in-context; beside those of the knowledge base.
        trained: A map-tuned plugin, instead of general map-tuning here.
    """

    base: str
    tokenizer: PreTrainedTokenizerBase
    knowledge_base: KnowledgeBase
    corpus: Sequence[Mapping[str, Any]] = ()
    descriptions: Mapping[str, str] | None = None
    trained: KnowledgePlugin | None = None


def run(
    task: Task,
    ingredients: Ingredients,
    plan: Plan,
    settings: Settings,
    done: Callable[[Cell], None] = lambda cell: None,
) -> list[Cell]:
    """Run the comparison.

    Args:
        task: The task.
        ingredients: Base model, knowledge and corpus.
        plan: What is compared.
        settings: How long and how fast everything learns.
        done: Called with each figure as soon as it is there.
    """
    tokenizer = ingredients.tokenizer
    rows = [*task.train, *task.test, *ingredients.corpus]
    kb = restricted(ingredients.knowledge_base, [mention.entity_id for mention in mentions_of(rows)])
    descriptions = {entity.id: entity.description for entity in kb if entity.description} | dict(
        ingredients.descriptions or {}
    )
    mentions = [mention.entity_id for mention in mentions_of(task.head.sentences(task.test))]
    described = sum(entity in descriptions for entity in mentions)
    cells: list[Cell] = []

    def add(seed: int, method: str, injection: str, control: str | None, value: float, linked: int) -> None:
        cells.append(Cell(seed, method, injection, control, value, len(task.test), len(mentions), linked))
        done(cells[-1])

    for seed in plan.seeds:
        materials = Materials(ingredients.base, tokenizer, kb, ingredients.corpus, settings, seed, ingredients.trained)
        plugins = _make_plugins(plan, materials)
        for method in plan.methods:
            _say(f"seed {seed}: {method}")
            checkpoint = make_checkpoint(method, task.head, ingredients.base, tokenizer, task.train, settings, seed)
            ask = partial(score, task.head, checkpoint, tokenizer)
            if "none" in plan.injections:
                add(seed, method, "none", None, value=ask(task.test)[0], linked=0)
            if "text" in plan.injections:
                value, _ = ask(with_descriptions(task.test, descriptions))
                add(seed, method, "text", None, value=value, linked=described)
            for (injection, control), plugin in plugins.items():
                if injection in plan.injections:
                    value, linked = ask(task.test, plugin)
                    add(seed, method, injection, control, value=value, linked=linked)
                if injection == "general" and "task-specific" in plan.injections:
                    _say(f"seed {seed}: {method}, task-specific{f', {control} vectors' if control else ''}")
                    tuned = task_specific(plugin, checkpoint, task.head, task.train, materials)
                    value, linked = ask(task.test, tuned)
                    add(seed, method, "task-specific", control, value=value, linked=linked)
    return cells


def _make_plugins(plan: Plan, materials: Materials) -> dict[tuple[str, str | None], KnowledgePlugin]:
    wanted = [name for name in PLUGINS if name in plan.injections]
    if "task-specific" in plan.injections and "general" not in wanted:
        wanted.append("general")  # task-specific map-tuning starts from it
    plugins = {}
    for name in wanted:
        for control in (None, *plan.controls):
            _say(f"seed {materials.seed}: making {name}{f', {control} vectors' if control else ''}")
            plugins[name, control] = make_plugin(name, materials, control)
    return plugins


@torch.inference_mode()
def score(
    head: Head,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Any],
    plugin: KnowledgePlugin | None = None,
) -> tuple[float, int]:
    """Return the metric of a task, and how many mentions were linked."""
    if plugin is not None:
        with plugin.attach(model, tokenizer) as attachment:
            value, _ = score(head, attachment.model, attachment.tokenizer, rows)
            return value, attachment.mentions_linked
    device = next(model.parameters()).device
    logits, answers = [], []
    for start in range(0, len(rows), head.batch_size):
        batch = head.batch(tokenizer, rows[start : start + head.batch_size])
        labels = batch.pop("labels")
        outputs = model(**{name: tensor.to(device) for name, tensor in batch.items()})
        logits.append(head.logits(outputs, labels).float().cpu())
        answers.append(head.answers(labels))
    return head.score(torch.cat(logits), torch.cat(answers)), 0


def save_cells(path: Path, cells: Sequence[Cell]) -> None:
    """Write figures as JSON, beside and renamed."""
    beside = path.with_suffix(".partial")
    beside.write_text(json.dumps([asdict(cell) for cell in cells], indent=2) + "\n", encoding="utf-8")
    beside.replace(path)


def _say(what: str) -> None:
    print(f"== {what}", file=sys.stderr)
