"""Batches for methods that look entries up: which entries are shown, and which one is the right one."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.answers import IGNORED
from knowledge_plugin.injection.attachment import Attachment
from knowledge_plugin.injection.hook import Hook
from knowledge_plugin.injection.layer_hook import Forward, LayerHook
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.objectives.base import Added, Objective
from knowledge_plugin.objectives.collator import TaskCollator, check_alike

# Shown to a batch: its own entries and others, drawn at random. KBLaM's grows to 200, over tens of thousands of steps.
_SHOWN = 64
_OWN = ("shown", "gold")


class LookupCollator(TaskCollator):
    """Makes batches for any head, with entries to look up.

    The entry that is mentioned first in a row (given, or found by the plugin's linker in its text) is the one to be
    found. A batch is shown its own entries and some others, so that keys are as new as the weights, and each step costs
    the same however large the knowledge base is.

    Args:
        seed: Of the draws.
        refusal: What is to be answered where the right entry is not shown; ``None`` always shows it.
        refusals: Share of the rows whose entry is not shown.
    """

    def __init__(self, seed: int = 0, refusal: str | None = None, refusals: float = 0.2) -> None:
        super().__init__()
        self.seed, self.refusal, self.refusals = seed, refusal, refusals if refusal else 0.0
        self.epoch = 0
        self.attachment: Attachment | None = None
        self.draws = True

    keeps_spans = True

    def use(self, attachment: Attachment) -> None:
        """Make batches for the model of an attachment."""
        super().use(attachment)
        self.attachment = attachment

    def for_evaluation(self) -> LookupCollator:
        """Return a collator with which all entries are shown, as when the plugin is used."""
        other = copy.copy(self)
        other.draws = False
        return other

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch of tensors, with ``shown``, rows of the knowledge base ``[n]``, and ``gold``.

        ``gold``, ``[batch, length]``, is the place among those shown of the entry to be found, at every token from the
        end of its mention to the end of the text, where it can be known; everywhere if the labels are none of tokens,
        and at all tokens of an answer that is written apart; -100 elsewhere.
        """
        assert self.attachment is not None
        kb = self.attachment.source.knowledge_base
        own, ends = self._own(rows, kb)
        draw = random.Random(f"{self.seed} {self.epoch} {rows[0].get('text', '')}")
        hidden: set[int] = set()
        if self.draws and self.refusals:
            hidden = {row for row in {r for r in own if r is not None} if draw.random() < self.refusals}
            rows = [row | {"label": self.refusal} if r in hidden else row for row, r in zip(rows, own, strict=True)]
        batch = super().__call__(rows)
        spans = batch.pop("spans", None)
        if not self.draws:
            return batch
        shown = sorted({row for row in own if row is not None} - hidden)
        others = iter(draw.sample(range(len(kb)), min(len(kb), _SHOWN + len(hidden) + len(shown))))
        shown += [row for row in others if row not in hidden and row not in set(shown)][: max(0, _SHOWN - len(shown))]
        place = {row: i for i, row in enumerate(shown)}
        gold = torch.tensor([IGNORED if row is None else place.get(row, IGNORED) for row in own])
        batch["shown"] = torch.tensor(shown)
        if self.writes == "apart":  # all that is written is about the entry
            asked = batch["labels"] != IGNORED if "labels" in batch else torch.ones(len(rows), 1, dtype=torch.bool)
        else:
            asked = _asked(batch, spans, torch.tensor(ends))
        batch["gold"] = gold[:, None].masked_fill(~asked, IGNORED)
        return batch

    def _own(self, rows: Sequence[dict[str, Any]], kb: KnowledgeBase) -> tuple[list[int | None], list[int]]:
        """Return the entry that each row is about, and where its mention ends."""
        assert self.attachment is not None
        source = self.attachment.source
        check_alike(rows)
        if "mentions" in rows[0]:
            texts = [row.get("text", "") for row in rows]
            found = source.given([row["mentions"] for row in rows], texts)
        elif "text" in rows[0] and source.linker is not None:
            found = source.find([row["text"] for row in rows])
        else:
            raise TrainingError(
                "which entry a row is about is not known: expected rows with 'mentions', or with 'text' in which the "
                'knowledge base\'s names are found, such as {"text": "Ada lives in", "label": "Graz", "mentions": '
                '[[0, 3, "person:1"]]}.'
            )
        first = [next(iter(mentions), None) for mentions in found]
        return [None if m is None else kb.row(m.entity_id) for m in first], [0 if m is None else m.end for m in first]


def _asked(batch: dict[str, torch.Tensor], spans: torch.Tensor | None, ends: torch.Tensor) -> torch.Tensor:
    """Return where in a batch ``[batch, length]`` it can be known which entry is meant."""
    ids = batch["input_ids"]
    if spans is None:
        return batch.get("attention_mask", torch.ones_like(ids)).bool()
    return (spans[..., 0] < spans[..., 1]) & (spans[..., 1] >= ends[:, None])


@contextmanager
def looking_up(model: nn.Module, hook: Hook, inputs: dict[str, Any]) -> Iterator[Added]:
    """Show a batch its entries, and add how far the look-ups are from the right ones to the loss."""
    assert isinstance(hook, LayerHook)
    shown, gold = (inputs.pop(name, None) for name in _OWN)
    if shown is None:
        yield lambda outputs: None
        return
    with hook.showing(shown), hook.logging() as forwards:
        yield lambda outputs: hook.lookup_loss(_differentiable(forwards[-1]), gold)


def _differentiable(forward: Forward) -> Forward:
    if torch.is_grad_enabled() and not all(scores.requires_grad for scores in forward.scores):
        raise TrainingError(
            "the look-ups have no gradient, probably because layers are checkpointed with use_reentrant=True. Type: "
            "TrainingArguments(..., gradient_checkpointing_kwargs={'use_reentrant': False})"
        )
    return forward


def with_entry(hook: Hook, batch: dict[str, Any]) -> list[bool]:
    """Return which rows of a batch are about an entry that is shown."""
    return (batch["gold"] != IGNORED).any(-1).tolist()


def lookup_objective(collator: Callable[[int], LookupCollator] = LookupCollator) -> Objective:
    """Return the objective ``"task"`` of a method that looks entries up."""
    return Objective(collator, step=looking_up, knows=with_entry)
