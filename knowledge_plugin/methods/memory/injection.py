"""The memory's way in: entries are read by attention beside the feed-forward (PlugLM, Cheng et al., 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from knowledge_plugin.config import KnowledgePluginConfig, MappingConfig, MappingKind
from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.injection.feed_forward_hook import FeedForwardHook, TermNetwork
from knowledge_plugin.injection.lookup import Found, Lookup
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.methods.layers import check_direction, chosen, is_causal, shape
from knowledge_plugin.methods.memory.config import MemoryConfig


class _Reader(nn.Module):
    """One layer's: looks up, and reads what was found with attention."""

    def __init__(self, width: int, value_dim: int, config: MemoryConfig) -> None:
        super().__init__()
        self.lookup = Lookup(width, config.key_dim, config.lookup_dim, config.causal)
        self.heads = config.heads
        self.query = nn.Linear(width, width)
        self.key, self.value = nn.Linear(value_dim, width), nn.Linear(value_dim, width)
        self.output = nn.Linear(width, width)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.beta = nn.Parameter(torch.full((config.heads,), 10.0))  # of each head: how much the look-up's score counts

    def forward(self, hidden: torch.Tensor, found: Found, values: torch.Tensor) -> torch.Tensor:
        # Tokens by what they found: all of a text, or one of a decoder.
        asking = self.query(hidden).view(*values.shape[:2], -1, hidden.shape[-1])
        query, key, value = map(self._by_head, (asking, self.key(values), self.value(values)))
        logits = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5  # [batch, s, heads, length / s, m]
        weights = (logits + self.beta.view(-1, 1, 1) * found.scores[:, :, None, None]).softmax(-1)
        return self.output((weights @ value).transpose(2, 3).reshape(hidden.shape))

    def _by_head(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return ``[batch, s, heads, n, width / heads]`` of ``[batch, s, n, width]``."""
        return tensor.view(*tensor.shape[:-1], self.heads, -1).transpose(2, 3)


class MemoryNetwork(TermNetwork):
    """Adds ``O · attention(x; found entries)`` to a feed-forward, with the look-up's cosine in the logits.

    ``softmax(q kᵀ / √d + β cos)`` over the entries that were found, ``β`` learned for each head, as PlugLM's multi-head
    reading; its output projection begins as zeros, so that an untrained reader adds nothing. Each chosen layer looks
    up for itself.

    Args:
        config: Of the plugin.
    """

    def __init__(self, config: KnowledgePluginConfig) -> None:
        super().__init__()
        injection, mapping = config.injection, config.mapping
        assert isinstance(injection, MemoryConfig)
        self.value_start = injection.value_start(mapping.input_dim)
        value_dim = mapping.input_dim - self.value_start
        self.readers = nn.ModuleList(_Reader(mapping.output_dim, value_dim, injection) for _ in injection.layers)

    def lookup(self, number: int) -> Lookup:
        """Return what a layer looks up with."""
        return self.readers[number].lookup  # type: ignore[return-value]

    def forward(self, number: int, hidden: torch.Tensor, found: Found) -> torch.Tensor:
        """Return the term ``[batch, length, width]``."""
        return self.readers[number](hidden, found, found.vectors[..., self.value_start :])


def configure(
    model: nn.Module,
    kb: KnowledgeBase,
    mapping: MappingKind | None = None,
    *,
    layers: Sequence[int] | None = None,
    key_dim: int | None = None,
    top: int = 5,
    lookup_dim: int = 128,
    heads: int | None = None,
) -> tuple[MappingConfig, MemoryConfig]:
    """Return the sections ``mapping`` and ``injection`` of an untrained plugin."""
    config: Any = bare_model(model).config
    injection = MemoryConfig(
        layers=chosen(model, layers, 1),
        key_dim=kb.config.dim if key_dim is None else key_dim,
        causal=is_causal(model),
        top=top,
        lookup_dim=lookup_dim,
        heads=heads if heads is not None else int(getattr(config.get_text_config(), "num_attention_heads", 1)),
    )
    return shape(model, kb, mapping), injection


def make_hook(
    config: KnowledgePluginConfig, vectors: PlacedIndex, mapping: MemoryNetwork, model: nn.Module, first_id: int
) -> FeedForwardHook:
    """Return what is hung on a model."""
    assert isinstance(config.injection, MemoryConfig)
    check_direction(config.injection, model)
    return FeedForwardHook(vectors, mapping, config.injection, config.injection.top)
