"""Running a model without training it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Run without dropout and without gradients; afterwards, every module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        # Not inference mode, whose tensors a model might keep and could then no longer be trained with.
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
