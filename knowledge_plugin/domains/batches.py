"""The loop of a training: which rows come when, and a step of Adam after each batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from knowledge_plugin.domains.config import FollowSettings


class Batches:
    """Numbers of rows in random order, as many batches as there are steps, and the optimizer's step after each.

    Args:
        rows: How many rows there are.
        settings: Steps, batch size and learning rate.
        trained: What is trained; outside of the loop it is frozen.
        generator: Of the order.
    """

    def __init__(
        self, rows: int, settings: FollowSettings, trained: Iterable[nn.Parameter], generator: torch.Generator
    ) -> None:
        self.rows, self.settings, self.generator = rows, settings, generator
        self.trained = list(trained)
        for parameter in self.trained:
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.Adam(self.trained, lr=settings.learning_rate)

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Yield numbers of rows; each comes once before any comes again, and fewer than a batch are left out."""
        waiting = torch.empty(0, dtype=torch.int64)
        try:
            for _ in range(self.settings.steps):
                if len(waiting) < min(self.rows, self.settings.batch_size):
                    waiting = torch.randperm(self.rows, generator=self.generator)
                yield waiting[: self.settings.batch_size]
                waiting = waiting[self.settings.batch_size :]
        finally:
            for parameter in self.trained:
                parameter.requires_grad_(False)

    def step(self, loss: torch.Tensor) -> None:
        """Make a step of the optimizer down a loss."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
