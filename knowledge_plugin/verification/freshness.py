"""Whether a mapping network was ever trained."""

from __future__ import annotations

import torch

from knowledge_plugin.injection.network import Network


def looks_untrained(mapping: Network) -> bool:
    """Whether the weights look like those of a fresh network: evenly spread, and none beyond where they start from.

    Training carries some of many weights beyond. A mapping of few weights, trained for a few steps, may still look
    fresh: weights cannot tell, its record of the training can. Matrices of zeros, where some methods begin, say
    nothing, and neither do the weights of a norm.

    Example:
        >>> from knowledge_plugin.injection.mapping import MappingNetwork
        >>> from knowledge_plugin.config import MappingConfig
        >>> looks_untrained(MappingNetwork(MappingConfig("affine", 64, 64)))
        True
    """
    weights = [weight.detach() for name, weight in mapping.named_parameters() if name.endswith("weight")]
    drawn = [weight for weight in weights if weight.dim() == 2 and bool(weight.any())]
    return bool(drawn) and all(map(_looks_fresh, drawn))


def _looks_fresh(weight: torch.Tensor) -> bool:
    # PyTorch draws the weights of a linear layer evenly from +- 1 / sqrt(inputs).
    bound = weight.shape[1] ** -0.5
    spread = float(weight.square().mean().sqrt()) / (bound / 3**0.5)
    tolerance = 2 * weight.numel() ** -0.5  # 4.5 standard deviations of the spread of so many even draws
    return float(weight.abs().max()) <= bound * 1.000001 and abs(spread - 1) <= tolerance
