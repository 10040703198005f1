"""A model that is run, and is afterwards in the modes that it was in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Afterwards, every module trains or evaluates as before: one mode for all would change a frozen part's."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Run without dropout and without gradients; afterwards, every module is in the mode that it was in."""
    # Not inference mode, whose tensors a model might keep and could then no longer be trained with.
    with modes_kept(model), torch.no_grad():
        model.eval()
        yield
