"""What a text asks of a knowledge base, and what it finds: queries of hidden states, keys of entries."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional


class Found(NamedTuple):
    """Entries that were found: ``m`` for each text (``s`` is 1) or for each token (``s`` is the length).

    Attributes:
        vectors: ``[batch, s, m, dim]``, float32.
        scores: Cosine of query and key, ``[batch, s, m]``.
    """

    vectors: torch.Tensor
    scores: torch.Tensor


class Lookup(nn.Module):
    """Queries and keys, both of unit length, so that an inner product is a cosine.

    A text that is read as a whole asks once: its tokens are pooled by attention, ``a_t ~ exp(w tanh(W x_t + b))``
    (PlugLM, Cheng et al., 2023, modeling of the document encoder). In a decoder each token asks for itself: pooled over
    the text it would know what follows, and with a cache it would not know what came before.

    Args:
        width: Of hidden states.
        key_dim: Of an entry's key.
        dim: Of queries and keys as they are compared.
        causal: Whether each token asks for itself.
    """

    def __init__(self, width: int, key_dim: int, dim: int, causal: bool) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, dim), nn.Linear(key_dim, dim)
        self.pool = None if causal else nn.Sequential(nn.Linear(width, dim), nn.Tanh(), nn.Linear(dim, 1))
        self.log_scale = nn.Parameter(torch.tensor(3.0))

    def queries(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return unit queries ``[batch, s, dim]`` of hidden states ``[batch, length, width]``.

        Args:
            hidden: float32.
            mask: ``[batch, length]``, true where there is text; ``None`` if there is no padding.
        """
        if self.pool is not None:
            weights = self.pool(hidden).squeeze(-1)
            if mask is not None:
                weights = weights.masked_fill(~mask, torch.finfo(weights.dtype).min)
            hidden = (weights.softmax(-1).unsqueeze(-1) * hidden).sum(1, keepdim=True)
        return functional.normalize(self.query(hidden), dim=-1)

    def keys(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return unit keys ``[n, dim]`` of the keys ``[n, key_dim]`` of entries."""
        return functional.normalize(self.key(vectors), dim=-1)
