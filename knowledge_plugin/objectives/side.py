"""What learns beside the mapping and is no part of the plugin: a decoder, prototypes, what a loss of its own needs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from knowledge_plugin.injection.hook import Hook
from knowledge_plugin.injection.network import Network

# From the outputs of a forward to what is added to its loss; ``None`` if nothing is.
Added = Callable[[Any], torch.Tensor | None]


class SideModule(Network):
    """A module that learns in the trainer beside the mapping, and a loss of its own.

    :class:`~knowledge_plugin.MapTuningTrainer` keeps such modules in ``trainer.side_modules``, by name. They are in
    the optimizer and in checkpoints (``NAME.safetensors``), so that a resumed run goes on exactly, and never in a
    plugin that is saved. Parameters that do not require gradients stay as they are.
    """

    def step(self, model: nn.Module, hook: Hook, inputs: dict[str, Any]) -> AbstractContextManager[Added]:
        """Return what is around a forward; see :attr:`knowledge_plugin.objectives.base.Objective.step`."""
        raise NotImplementedError
