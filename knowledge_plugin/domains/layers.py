"""What a follower is made of: a residual adapter that begins as the identity, and what tells two domains apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Adapter(nn.Module):
    """``f + up(gelu(down(f)))`` for features ``[n, m]``; ``up`` begins at zero, so that nothing changes at first.

    Example:
        >>> features = torch.randn(2, 4)
        >>> torch.equal(Adapter(4, 8)(features), features)
        True
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, hidden)
        self.up = nn.Linear(hidden, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return adapted features, ``[n, m]``."""
        return features + self.up(functional.gelu(self.down(features)))


class Discriminator(nn.Module):
    """Tells replayed features from those of the new domain, and teaches the adapter, backwards, not to be told apart.

    Gradient reversal is that of Ganin and Lempitsky (ICML 2015). That ALeN aligns adversarially is from its abstract;
    which discrepancy it uses is unknown to us.
    """

    def __init__(self, dim: int, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def loss(self, replayed: torch.Tensor, adapted: torch.Tensor, strength: float) -> torch.Tensor:
        """Return the cross-entropy of telling both apart; what made ``adapted`` gets its gradient reversed.

        Args:
            replayed: Samples of prototypes, ``[n, m]``.
            adapted: Features of the new domain, ``[k, m]``.
            strength: What the reversed gradient is multiplied with.
        """
        real, new = self.layers(replayed)[:, 0], self.layers(_Reversed.apply(adapted, strength))[:, 0]
        ones, zeros = torch.ones_like(real), torch.zeros_like(new)
        told = functional.binary_cross_entropy_with_logits
        return 0.5 * (told(real, ones) + told(new, zeros))


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, strength: float) -> torch.Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -ctx.strength * gradient, None
