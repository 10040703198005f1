"""Four checkpoints of one base, none of which has seen a plugin: fine-tuned, LoRA, adapters and BitFit."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments, set_seed

from examples.paper.heads import Batch, Head
from examples.paper.settings import Settings, Training
from knowledge_plugin.errors import MissingDependencyError
from knowledge_plugin.objectives.collator import LinkingCollator

METHODS = ("fine-tuning", "lora", "adapter", "bitfit")

# Names that BERT, RoBERTa and their kin give to these layers. Published LoRA copies their weights but not their
# biases, which stay random and untrained; here both are the base's own.
_LORA_TARGETS = ["query", "key", "intermediate.dense"]
_ADAPTED = "output.dense"


class HeadCollator(LinkingCollator):
    """Makes batches of a task, with the tokenizer that it is given or that of an attachment."""

    def __init__(self, head: Head, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        super().__init__(tokenizer)
        self.head = head

    def __call__(self, rows: Sequence[Any]) -> Batch:
        """Return a batch."""
        assert self.tokenizer is not None
        return self.head.batch(self.tokenizer, rows)


class Bottleneck(nn.Module):
    """What an adapter adds behind a layer: down to a few dimensions, swish, and up again. At first it adds nothing."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states + self.up(nn.functional.silu(self.down(states)))


def make_checkpoint(
    method: str,
    head: Head,
    base: str,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Any],
    settings: Settings,
    seed: int = 0,
) -> PreTrainedModel:
    """Adapt a base model to a task, without any knowledge, and freeze it.

    Args:
        method: One of ``METHODS``.
        head: The task.
        base: Name or folder of the base model.
        tokenizer: Its tokenizer.
        rows: What it learns from.
        settings: How long and how fast.
        seed: For everything random.

    Returns:
        The checkpoint in evaluation mode, without gradients. LoRA is merged; adapters are layers of it.
    """
    set_seed(seed)
    model = head.load(base)
    prepared = prepare(model, method, settings, head.is_trained)
    train(
        Trainer,
        settings.adaptation[method],
        seed,
        model=prepared,
        data_collator=HeadCollator(head, tokenizer),
        compute_loss_func=head.loss,
        train_dataset=list(rows),
    )
    if method == "lora":
        model = prepared.merge_and_unload()  # type: ignore[operator]
    return model.eval().requires_grad_(False)


def prepare(model: PreTrainedModel, method: str, settings: Settings, with_head: bool = True) -> nn.Module:
    """Add what a method adds, and let learn what it lets learn.

    Args:
        model: Changed in place.
        method: One of ``METHODS``.
        settings: Widths.
        with_head: Whether the parameters outside of the base model learn too.

    Returns:
        The model to train.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, found {method!r}.")
    if method == "fine-tuning":
        return model
    # By identity: a language model's head shares the word embeddings, which stay as they are.
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    outside = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    model.requires_grad_(False)
    prepared: nn.Module = model
    if method == "lora":
        try:
            from peft import LoraConfig, get_peft_model
        except ImportError as error:
            raise MissingDependencyError("dev", "peft") from error
        prepared = get_peft_model(
            model, LoraConfig(r=settings.rank, lora_alpha=1, lora_dropout=0.0, target_modules=_LORA_TARGETS)
        )
    elif method == "adapter":
        _add_adapters(model, settings.bottleneck)
    else:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
    for parameter in outside if with_head else ():
        parameter.requires_grad_(True)
    return prepared


def _add_adapters(model: PreTrainedModel, inner: int) -> None:
    """Put a bottleneck behind attention and behind the feed-forward layer, before what was there is added again."""
    found = [name for name, _ in model.named_modules() if name.endswith(_ADAPTED)]
    if not found:
        raise ValueError(f"{type(model).__name__} has no layers called {_ADAPTED}; its layers are not named as BERT's.")
    for name in found:
        parent, _, own = name.rpartition(".")
        dense = model.get_submodule(name)
        setattr(model.get_submodule(parent), own, nn.Sequential(dense, Bottleneck(dense.out_features, inner)))  # type: ignore[arg-type]


def train(trainer: type[Trainer], training: Training, seed: int, **options: Any) -> None:
    """Run a Trainer, or MapTuningTrainer, that keeps no checkpoints and reports to nobody."""
    # Trainer makes its folder even when it saves nothing, and reports its times on stdout.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        arguments = TrainingArguments(
            folder,
            learning_rate=training.learning_rate,
            num_train_epochs=training.epochs,
            per_device_train_batch_size=training.batch_size,
            warmup_steps=0.0 if training.constant else 0.1,
            lr_scheduler_type="constant" if training.constant else "linear",
            dataloader_pin_memory=torch.cuda.is_available(),
            remove_unused_columns=False,
            seed=seed,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=not sys.stderr.isatty(),
        )
        trainer(args=arguments, **options).train()
