"""The mapping network: from the space of entity vectors into the space of word embeddings."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from knowledge_plugin.config import MappingConfig
from knowledge_plugin.injection.network import Network

DEFAULT_HIDDEN_DIM = 512


class MappingNetwork(Network):
    """Carries entity vectors ``[n, input_dim]`` to virtual word-embedding rows ``[n, output_dim]``.

    ``"affine"`` is ``M(e) = W e + b`` of map-tuning (Zhang et al., ACL 2023, section 3). ``"mlp"`` puts a hidden layer
    with GELU between, and learns more from few sentences. Weights are float32.

    Args:
        config: Kind and widths.

    Example:
        >>> MappingNetwork(MappingConfig("affine", 3, 5))(torch.zeros(2, 3)).shape
        torch.Size([2, 5])
    """

    def __init__(self, config: MappingConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.input_dim, *([config.hidden_dim] if config.hidden_dim else []), config.output_dim]
        # PyTorch's own initialisation: it learned faster than a smaller one, and than matching the norm of words.
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map vectors ``[n, input_dim]`` to rows ``[n, output_dim]`` of the same dtype.

        A matrix product in float32 may round a row differently in another batch. In float64, rounded only at the end,
        a row is as good as a stored one: what a text yields does not depend on its neighbours. The weights follow the
        vectors to their device, wherever a model was moved after attaching.
        """
        # Apple's GPUs have no float64.
        dtype = torch.float32 if vectors.device.type == "mps" else torch.float64
        hidden = vectors.to(dtype)
        for i, layer in enumerate(self.layers):
            weight, bias = (parameter.to(vectors.device, dtype) for parameter in layer.parameters())
            hidden = F.linear(hidden if i == 0 else _gelu(hidden), weight, bias)
        return hidden.to(vectors.dtype)


def _gelu(hidden: torch.Tensor) -> torch.Tensor:
    """Return ``x Φ(x)``, exact GELU (Hendrycks & Gimpel 2016, section 2)."""
    # In float64 PyTorch's own takes three times as long as this, and was a sixth of what a batch costs.
    return hidden * torch.special.ndtr(hidden) if hidden.dtype == torch.float64 else F.gelu(hidden)
