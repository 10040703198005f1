"""Map-tuning's way in: a mapped vector is a row of the word embeddings."""

from __future__ import annotations

from torch import nn

from knowledge_plugin.config import KnowledgePluginConfig, MappingConfig, MappingKind
from knowledge_plugin.errors import MappingError
from knowledge_plugin.injection.embedding_hook import EmbeddingHook
from knowledge_plugin.injection.embeddings import input_embedding
from knowledge_plugin.injection.mapping import DEFAULT_HIDDEN_DIM, MappingNetwork
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.injection.virtual_ids import VirtualIds
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.methods.map_tuning.config import MapTuningConfig


def configure(
    model: nn.Module, kb: KnowledgeBase, mapping: MappingKind | None = None
) -> tuple[MappingConfig, MapTuningConfig]:
    """Return the sections ``mapping`` and ``injection`` of an untrained plugin.

    Raises:
        MappingError: No such kind of mapping.
    """
    kind = mapping or "mlp"
    if kind not in ("mlp", "affine"):
        raise MappingError(f"mapping: expected 'mlp' or 'affine', found {kind!r}.")
    width, hidden = input_embedding(model).weight.shape[1], DEFAULT_HIDDEN_DIM if kind == "mlp" else None
    return MappingConfig(kind, kb.config.dim, width, hidden), MapTuningConfig()


def make_network(config: KnowledgePluginConfig) -> MappingNetwork:
    """Return the mapping network, untrained."""
    return MappingNetwork(config.mapping)


def make_hook(
    config: KnowledgePluginConfig, vectors: PlacedIndex, mapping: MappingNetwork, model: nn.Module, first_id: int
) -> EmbeddingHook:
    """Return what is hung on a model: virtual ids from ``first_id`` on are answered by the mapping network."""
    ids = VirtualIds(first_id, len(vectors.knowledge_base))
    return EmbeddingHook(vectors, mapping, ids, input_embedding(model).num_embeddings)
