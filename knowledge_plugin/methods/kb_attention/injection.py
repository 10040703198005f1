"""Knowledge in attention: entries are keys and values that every token may look at (KBLaM, Wang et al., ICLR 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from knowledge_plugin.config import KnowledgePluginConfig, MappingConfig, MappingKind, parse
from knowledge_plugin.errors import IncompatibleModelError, MappingError
from knowledge_plugin.injection.attention_hook import AttentionHook, EntryNetwork, KeysAndValues
from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.injection.layers import self_attention, transformer_layers
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.methods.kb_attention.config import KBAttentionConfig
from knowledge_plugin.methods.layers import chosen, is_causal, shape


class KBAttentionNetwork(EntryNetwork):
    """Keys ``LayerNorm(W_K k + b_K)`` and values ``W_V v + b_V`` of entries, and queries ``LayerNorm(W_Q x)``.

    That queries are normalised too is ours: KBLaM learns from tens of thousands of entries, and where there are some
    hundreds, entries that were not trained with are found twice as often with it. Queries have no position, since
    entries have none, so that their order means nothing (sections 3 and 4). There is a set of weights for each of the
    chosen layers.

    Args:
        config: Of the plugin.
    """

    def __init__(self, config: KnowledgePluginConfig) -> None:
        super().__init__()
        injection, mapping = config.injection, config.mapping
        assert isinstance(injection, KBAttentionConfig)
        inner, start = injection.heads * injection.head_dim, injection.value_start(mapping.input_dim)
        self.heads, self.key_dim, self.value_start = injection.heads, injection.key_dim, start
        self.key_layers = nn.ModuleList(nn.Linear(injection.key_dim, inner) for _ in injection.layers)
        self.value_layers = nn.ModuleList(nn.Linear(mapping.input_dim - start, inner) for _ in injection.layers)
        self.query_layers = nn.ModuleList(nn.Linear(mapping.output_dim, inner, bias=False) for _ in injection.layers)

    def entries(self, vectors: torch.Tensor) -> list[KeysAndValues]:
        """Return keys and values ``[heads, n, head_dim]`` of entity vectors ``[n, dim]``, for each layer."""
        keys, values = vectors[:, : self.key_dim], vectors[:, self.value_start :]
        found = []
        for key_layer, value_layer in zip(self.key_layers, self.value_layers, strict=True):
            key = key_layer(keys)
            key = functional.layer_norm(key, key.shape[-1:])
            found.append(KeysAndValues(self._by_head(key), self._by_head(value_layer(values))))
        return found

    def queries(self, number: int, hidden: torch.Tensor) -> torch.Tensor:
        """Return queries ``[batch, heads, length, head_dim]`` of hidden states ``[batch, length, width]``."""
        query = self.query_layers[number](hidden)
        return self._by_head(functional.layer_norm(query, query.shape[-1:]))

    def _by_head(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.view(*tensor.shape[:-1], self.heads, -1).transpose(-3, -2)


def configure(
    model: nn.Module,
    kb: KnowledgeBase,
    mapping: MappingKind | None = None,
    *,
    layers: Sequence[int] | None = None,
    every: int = 3,
    key_dim: int | None = None,
    top: int = 100,
    scale: float = 100.0,
) -> tuple[MappingConfig, KBAttentionConfig]:
    """Return the sections ``mapping`` and ``injection`` of an untrained plugin.

    Raises:
        MappingError: The model is no decoder, or ``every`` is below 1.
    """
    if not is_causal(model):
        raise MappingError(
            f"{type(bare_model(model)).__name__}: knowledge in attention is for decoders. Type: "
            "KnowledgePlugin.for_model(model, kb, method='memory'), or --method memory"
        )
    if parse(int, every, "every") < 1:
        raise MappingError(f"every: expected a number of layers from 1 up, found {every}.")
    depth = len(transformer_layers(model))
    self_attention(transformer_layers(model)[0])  # says at once if there is none
    heads, head_dim = _heads(model)
    injection = KBAttentionConfig(
        layers=chosen(model, range(0, depth, every) if layers is None else layers, depth),
        key_dim=kb.config.dim if key_dim is None else key_dim,
        causal=True,
        heads=heads,
        head_dim=head_dim,
        top=top,
        scale=float(scale) if type(scale) is int else scale,
    )
    return shape(model, kb, mapping), injection


def _heads(model: nn.Module) -> tuple[int, int]:
    """Return how many heads of queries a model has, and how wide each is."""
    config: Any = bare_model(model).config
    config = config.get_text_config(decoder=True)
    heads = config.num_attention_heads
    return heads, getattr(config, "head_dim", None) or config.hidden_size // heads


def initialise(network: KBAttentionNetwork, config: KnowledgePluginConfig, model: nn.Module) -> None:
    """Let queries begin as those of the layer, where it has a projection of its own for them."""
    assert isinstance(config.injection, KBAttentionConfig)
    layers = transformer_layers(model)
    for number, layer in zip(config.injection.layers, network.query_layers, strict=True):
        assert isinstance(layer, nn.Linear)
        # Its name begins with q wherever queries have a projection of their own; below an adapter is the layer itself.
        children = self_attention(layers[number]).named_children()
        own = next((getattr(m, "base_layer", m) for name, m in children if name.startswith("q")), None)
        weight = getattr(own, "weight", None)
        if not isinstance(weight, torch.Tensor) or weight.is_meta or not weight.is_floating_point():
            continue  # quantised, or offloaded: it begins at random
        if isinstance(own, nn.Linear) and weight.shape == layer.weight.shape:
            with torch.no_grad():
                layer.weight.copy_(weight)


def make_hook(
    config: KnowledgePluginConfig, vectors: PlacedIndex, mapping: KBAttentionNetwork, model: nn.Module, first_id: int
) -> AttentionHook:
    """Return what is hung on a model."""
    injection = config.injection
    assert isinstance(injection, KBAttentionConfig)
    heads, head_dim = _heads(model)
    if (heads, head_dim) != (injection.heads, injection.head_dim):
        raise IncompatibleModelError(
            f"the plugin was made for {injection.heads} attention heads of {injection.head_dim}, and the model has "
            f"{heads} of {head_dim}. Make one for this model: KnowledgePlugin.for_model(model, kb, "
            "method='kb-attention')"
        )
    return AttentionHook(vectors, mapping, injection, injection.top, injection.scale)
