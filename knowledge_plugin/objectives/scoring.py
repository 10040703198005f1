"""The loss of a language model, with the vocabulary asked only where something is scored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.objectives.mentions import IGNORED


class ScoredLoss:
    """Cross-entropy at the places that have a label, equal to the model's own loss.

    A mention is a few word pieces of a sentence, and the output layer, as wide as the vocabulary, is the dearest part
    of a small model: within :meth:`scoring` it sees the hidden states of scored places and no others.

    Args:
        shift: How far before its label a place lies that predicts it: 0 for a masked language model, 1 for a decoder.
    """

    def __init__(self, shift: int) -> None:
        self.shift = shift

    @contextmanager
    def scoring(self, model: nn.Module, labels: torch.Tensor) -> Iterator[None]:
        """Within, the model's output layer computes logits ``[scored, vocabulary]``, in order of the batch.

        Args:
            model: With an output layer, wrapped or not.
            labels: ``[batch, length]``.
        """
        scored = self._scored(labels)
        output = bare_model(model).get_output_embeddings()  # type: ignore[operator]

        def keep_scored(module: nn.Module, args: tuple) -> tuple | None:
            hidden = args[0]
            # A head that does something else than look at each place is left alone; see __call__.
            return (hidden[scored.to(hidden.device)], *args[1:]) if hidden.shape[:-1] == scored.shape else None

        handle = output.register_forward_pre_hook(keep_scored)
        try:
            yield
        finally:
            handle.remove()

    def __call__(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Return the mean loss, or the sum over ``num_items_in_batch``, as ``Trainer(compute_loss_func=)`` wants it."""
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        scored = self._scored(labels).to(logits.device)
        logits = logits if logits.dim() == 2 else logits[scored]
        targets = labels[:, self.shift :].to(logits.device)
        targets = targets[targets != IGNORED]
        total = functional.cross_entropy(logits.float(), targets, reduction="sum")
        items = targets.numel() if num_items_in_batch is None else num_items_in_batch
        return total / torch.as_tensor(items, device=total.device).clamp(min=1)

    def _scored(self, labels: torch.Tensor) -> torch.Tensor:
        """Return ``[batch, length]``: which places predict a label."""
        scored = torch.zeros_like(labels, dtype=torch.bool)
        scored[:, : labels.shape[1] - self.shift] = labels[:, self.shift :] != IGNORED
        return scored


class NoLoss(ScoredLoss):
    """Nothing of the model's own is minimised, and its output layer is asked nothing."""

    def __init__(self) -> None:
        super().__init__(shift=0)

    @contextmanager
    def scoring(self, model: nn.Module, labels: torch.Tensor) -> Iterator[None]:
        """Within, the model's output layer sees no place; a model without one is left alone."""
        get = getattr(bare_model(model), "get_output_embeddings", None)
        output = None if get is None else get()
        if output is None:
            yield
            return
        handle = output.register_forward_pre_hook(lambda module, args: (args[0][:, :0], *args[1:]))
        try:
            yield
        finally:
            handle.remove()

    def __call__(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        """Return 0."""
        return torch.zeros((), device=labels.device)
