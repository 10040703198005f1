"""The passage's way in: what a retriever knows a passage by is a token of the text (xRAG, Cheng et al., 2024)."""

from __future__ import annotations

import torch
from torch import nn

from knowledge_plugin.config import KnowledgePluginConfig, MappingConfig, MappingKind
from knowledge_plugin.errors import MappingError
from knowledge_plugin.injection.embedding_hook import EmbeddingHook
from knowledge_plugin.injection.embeddings import embedding_rows, input_embedding
from knowledge_plugin.injection.mapping import MappingNetwork
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.injection.virtual_ids import VirtualIds
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.methods.passage.config import PassageConfig

_ROWS = 1_000  # of the word embeddings, to see how long they are


def configure(
    model: nn.Module, kb: KnowledgeBase, mapping: MappingKind | None = None, *, tokens: int = 1, separator: str = ""
) -> tuple[MappingConfig, PassageConfig]:
    """Return the sections ``mapping`` and ``injection`` of an untrained plugin.

    xRAG's bridge is ``A2 gelu(A1 e + a1) + a2``, as wide between as the word embeddings (its section 3.2). With
    several tokens, as ConceptFormer has them, it gives them side by side.

    Raises:
        MappingError: No such kind of mapping.
        ConfigError: A number of tokens that is out of bounds.
    """
    kind = mapping or "mlp"
    if kind not in ("mlp", "affine"):
        raise MappingError(f"mapping: expected 'mlp' or 'affine', found {kind!r}.")
    injection, width = PassageConfig(separator=separator, tokens=tokens), input_embedding(model).weight.shape[1]
    return MappingConfig(kind, kb.config.dim, width * tokens, width if kind == "mlp" else None), injection


def make_network(config: KnowledgePluginConfig) -> MappingNetwork:
    """Return the mapping network, untrained."""
    return MappingNetwork(config.mapping)


def initialise(network: MappingNetwork, config: KnowledgePluginConfig, model: nn.Module) -> None:
    """Let the rows that entities become be about as long as words: in many decoders no norm comes after them."""
    assert isinstance(config.injection, PassageConfig)
    embedding = input_embedding(model)
    words = embedding_rows(embedding, torch.arange(min(_ROWS, embedding.num_embeddings)))
    with torch.no_grad():
        drawn = torch.randn(64, config.mapping.input_dim, generator=torch.Generator().manual_seed(0))
        rows = network(torch.nn.functional.normalize(drawn, dim=-1)).view(64 * config.injection.tokens, -1)
        for parameter in network.layers[-1].parameters():
            parameter.mul_(float(words.norm(dim=-1).mean() / rows.norm(dim=-1).mean().clamp(min=1e-6)))


def make_hook(
    config: KnowledgePluginConfig, vectors: PlacedIndex, mapping: MappingNetwork, model: nn.Module, first_id: int
) -> EmbeddingHook:
    """Return what is hung on a model: virtual ids from ``first_id`` on are answered by the mapping network."""
    assert isinstance(config.injection, PassageConfig)
    ids = VirtualIds(first_id, len(vectors.knowledge_base), config.injection.tokens)
    return EmbeddingHook(vectors, mapping, ids, input_embedding(model).num_embeddings)
