"""What the trained part of a plugin is, whatever the method: a small network in a safetensors file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from knowledge_plugin.errors import ArtifactError, MappingError

_SHOWN = 5  # weights that are not what they should be


class Network(nn.Module):
    """A mapping network: carries entity vectors into a model. Weights are float32, on disk always.

    Each method has a subclass of its own, whose ``forward`` is the method's.
    """

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def save(self, path: Path) -> None:
        """Write the weights as safetensors, in float32 whatever they are here.

        Raises:
            MappingError: A weight is NaN or infinite. Nothing is written.
        """
        tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in self.state_dict().items()}
        for name, tensor in tensors.items():
            if not bool(tensor.isfinite().all()):
                raise MappingError(
                    f"{name} of the mapping network holds NaN or infinity: training has diverged. Nothing was saved. "
                    "Train it anew with a smaller learning rate, or load an earlier checkpoint."
                )
        save_file(tensors, path, {"format": "pt"})

    def load(self, path: Path) -> None:
        """Read weights that :meth:`save` wrote.

        Raises:
            ArtifactError: The file is no whole safetensors file.
            MappingError: Weights are missing, of another shape or dtype, or not finite.
        """
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ArtifactError(f"{path} is no whole safetensors file: {error}. Download or save it again.") from error
        expected = {name: list(tensor.shape) for name, tensor in self.state_dict().items()}
        found = {name: list(tensor.shape) for name, tensor in tensors.items()}
        if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
            shown = "; ".join(
                f"{name:.80}: expected {expected.get(name, 'none')}, found {found.get(name, 'none')}"
                for name in wrong[:_SHOWN]
            )
            more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            raise MappingError(f"{path}: expected the weights that the config declares. {shown}{more}.")
        if not all(tensor.dtype == torch.float32 and bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise MappingError(f"{path}: expected finite float32 weights, found other dtypes, NaN or infinity.")
        self.load_state_dict(tensors)


@contextmanager
def drawn_by(seed: int) -> Iterator[None]:
    """Draw fresh weights on the CPU, by a seed; afterwards, everybody's random numbers go on as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which seeds every GPU too
        yield


def exactly(device: torch.device) -> torch.autocast:
    """Compute in the precision of the tensors at hand, whatever autocast is on: what is kept must not depend on it."""
    return torch.autocast(device.type, enabled=False)


def version(parameter: torch.Tensor) -> tuple[int, int | None]:
    """Return what is another once a weight has changed, as far as that can be known: none made in inference mode."""
    return parameter.data_ptr(), None if parameter.is_inference() else parameter._version
