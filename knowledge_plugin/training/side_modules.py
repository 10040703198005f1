"""What learns beside a model in a Trainer: part of it while it trains, and in checkpoints a file each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

# Under this name they are a submodule of the model while it trains, and at no other time.
SUBMODULE = "knowledge_side"


class SideModules(nn.ModuleDict):
    """:class:`~knowledge_plugin.objectives.side.SideModule` by name."""

    @contextmanager
    def learning_in(self, model: nn.Module) -> Iterator[None]:
        """Within, optimizer, Accelerate and DistributedDataParallel find them; afterwards, the model is as it was."""
        if not len(self):
            yield
            return
        model.add_module(SUBMODULE, self)
        try:
            yield
        finally:
            model._modules.pop(SUBMODULE)
            self.eval()

    def save(self, folder: str | Path) -> None:
        """Write each to ``NAME.safetensors``."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, side in self.named():
            side.save(Path(folder) / f"{name}.safetensors")

    def load(self, folder: str | Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            ArtifactError: A file is missing or no whole safetensors file.
            MappingError: Weights are missing, of another shape or dtype, or not finite.
        """
        for name, side in self.named():
            side.load(Path(folder) / f"{name}.safetensors")

    def named(self) -> list[tuple[str, Any]]:
        """Return them with their names, typed as what they are."""
        return list(self.items())
