"""Kformer's way in: entries are further keys and values of the feed-forward (Yao et al., NLPCC 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from knowledge_plugin.config import KnowledgePluginConfig, MappingConfig, MappingKind
from knowledge_plugin.injection.feed_forward_hook import FeedForwardHook, TermNetwork
from knowledge_plugin.injection.lookup import Found, Lookup
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.methods.kformer.config import KformerConfig
from knowledge_plugin.methods.layers import check_direction, chosen, is_causal, shape

_LAST = 3  # layers, as Kformer chose of RoBERTa's


class KformerNetwork(TermNetwork):
    """Adds ``gelu(x Kᵀ) V`` to a feed-forward ``act(x W1) W2``, with ``K = W_k k + b_k`` and ``V = W_v v + b_v``.

    ``k`` and ``v`` are key and value of the entries that were found, once for all layers (section 3). ``W_v`` and
    ``b_v`` begin as zeros: untrained, nothing is added. Scores select, and do not weigh.

    Args:
        config: Of the plugin.
    """

    def __init__(self, config: KnowledgePluginConfig) -> None:
        super().__init__()
        injection, mapping = config.injection, config.mapping
        assert isinstance(injection, KformerConfig)
        width, start = mapping.output_dim, injection.value_start(mapping.input_dim)
        self.key_dim, self.value_start = injection.key_dim, start
        self.found_by = Lookup(width, injection.key_dim, injection.lookup_dim, injection.causal)
        self.keys = nn.ModuleList(nn.Linear(injection.key_dim, width) for _ in injection.layers)
        self.values = nn.ModuleList(nn.Linear(mapping.input_dim - start, width) for _ in injection.layers)
        for layer in self.values:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def lookup(self, number: int) -> Lookup:
        """Return what looks up: the first chosen layer does, for all."""
        return self.found_by

    def forward(self, number: int, hidden: torch.Tensor, found: Found) -> torch.Tensor:
        """Return the term ``[batch, length, width]``."""
        keys = self.keys[number](found.vectors[..., : self.key_dim])  # [batch, s, m, width]
        values = self.values[number](found.vectors[..., self.value_start :])
        asking = hidden.view(*keys.shape[:2], -1, hidden.shape[-1])  # tokens by what they found: all of a text, or one
        return (functional.gelu(asking @ keys.transpose(-2, -1)) @ values).view_as(hidden)


def configure(
    model: nn.Module,
    kb: KnowledgeBase,
    mapping: MappingKind | None = None,
    *,
    layers: Sequence[int] | None = None,
    key_dim: int | None = None,
    top: int = 5,
    lookup_dim: int = 128,
) -> tuple[MappingConfig, KformerConfig]:
    """Return the sections ``mapping`` and ``injection`` of an untrained plugin."""
    injection = KformerConfig(
        layers=chosen(model, layers, _LAST),
        key_dim=kb.config.dim if key_dim is None else key_dim,
        causal=is_causal(model),
        top=top,
        lookup_dim=lookup_dim,
    )
    return shape(model, kb, mapping), injection


def make_hook(
    config: KnowledgePluginConfig, vectors: PlacedIndex, mapping: KformerNetwork, model: nn.Module, first_id: int
) -> FeedForwardHook:
    """Return what is hung on a model."""
    assert isinstance(config.injection, KformerConfig)
    check_direction(config.injection, model)
    return FeedForwardHook(vectors, mapping, config.injection, config.injection.top)
