"""What is written down of a training, so that its card fills itself."""

from __future__ import annotations

import math
from typing import Any

import torch
import transformers
from transformers import Trainer

from knowledge_plugin.config import LIBRARY_NAME, LIBRARY_VERSION, TrainingConfig


def versions() -> dict[str, str]:
    """Return the versions of the libraries that a mapping depends on."""
    return {LIBRARY_NAME: LIBRARY_VERSION, "torch": torch.__version__, "transformers": transformers.__version__}


def record_of(
    trainer: Trainer, objective: str, base_dropout: float | None, rows_with_mention: float | None, seconds: float
) -> TrainingConfig:
    """Return what a Trainer did up to now.

    Args:
        trainer: It has begun, and may have ended.
        objective: What the mapping learned from.
        base_dropout: Dropout of the frozen model; ``None`` for its own.
        rows_with_mention: Share of the rows that mention an entity, if it is known.
        seconds: How long it has taken.
    """
    args, state = trainer.args, trainer.state
    losses = [float(entry["loss"]) for entry in state.log_history if "loss" in entry]
    loss = next((float(entry["train_loss"]) for entry in reversed(state.log_history) if "train_loss" in entry), None)
    loss = loss if loss is not None or not losses else sum(losses) / len(losses)
    return TrainingConfig(
        objective,
        rows=len(trainer.train_dataset) if hasattr(trainer.train_dataset, "__len__") else None,  # type: ignore[arg-type]
        rows_with_mention=rows_with_mention,
        epochs=None if state.epoch is None else float(state.epoch),
        steps=state.global_step,
        batch_size=args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        learning_rate=float(args.learning_rate),
        base_dropout=None if base_dropout is None else float(base_dropout),
        loss=loss if loss is not None and math.isfinite(loss) else None,
        seconds=round(seconds, 1),
        seed=args.seed,
        data=_name(trainer.train_dataset),
        versions=versions(),
    )


def _name(data: Any) -> str | None:
    """Return the name that a dataset of the Hub has."""
    name = getattr(getattr(data, "info", None), "dataset_name", None)
    return name[:200] if isinstance(name, str) and name else None
