"""What an objective is: how its batches are made, and what is minimised."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.config import Form
from knowledge_plugin.injection.hook import Hook
from knowledge_plugin.objectives.collator import LinkingCollator
from knowledge_plugin.objectives.scoring import ScoredLoss
from knowledge_plugin.objectives.side import Added, SideModule

Step = Callable[[nn.Module, Hook, dict[str, Any]], AbstractContextManager[Added]]


def nothing_missing(model: nn.Module, tokenizer: PreTrainedTokenizerBase, form: Form) -> None:
    """Say that any model will do."""


def no_mention_in(form: Form) -> str | None:
    """Say what a form lacks for an objective that reads mentions themselves, ``None`` if nothing."""
    if form == "replace":
        return "mentions that stay in the text beside their entity. Type: form='concat'"
    return None


def with_virtual_ids(hook: Hook, batch: dict[str, Any]) -> list[bool]:
    """Return which rows of a batch mention an entity: those with a virtual id."""
    return hook.ids.mask(batch["input_ids"]).any(-1).tolist()


@dataclass(frozen=True)
class Objective:
    """One of the objectives of a method.

    Attributes:
        collator: Makes its batches.
        base_dropout: Dropout of the frozen model, if none is asked for; ``None`` for its own.
        loss: Its loss, ``None`` for the one that the model returns.
        missing: Says what a model, its tokenizer and the form of injection lack for it, ``None`` if nothing.
        step: What is around a forward in training: it takes what is not the model's out of the batch, and gives what
            is added to the loss; ``None`` if nothing is.
        side: From the model and its tokenizer to what learns beside the mapping; ``None`` if nothing does.
        knows: Which rows of a batch have to do with an entity.
    """

    collator: Callable[[int], LinkingCollator]
    base_dropout: float | None = None
    loss: ScoredLoss | None = None
    missing: Callable[[nn.Module, PreTrainedTokenizerBase, Form], str | None] = nothing_missing
    step: Step | None = None
    side: Callable[[nn.Module, PreTrainedTokenizerBase], SideModule] | None = None
    knows: Callable[[Hook, dict[str, Any]], list[bool]] = with_virtual_ids
