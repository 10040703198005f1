"""A mapping network of the published code as a plugin."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.building.published import read_published_mapping
from knowledge_plugin.errors import MappingError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.plugin import KnowledgePlugin


def convert_published_mapping(
    path: str | Path,
    model: nn.Module,
    kb: KnowledgeBase,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    allow_pickle: bool = False,
) -> KnowledgePlugin:
    """Make a plugin of a mapping network that the published code of map-tuning trained.

    Entities get the very rows that they had there. What differs is meant: an entity that the knowledge base does not
    know gets no prefix here, where the published code puts the mapping's bias in front of it.

    Args:
        path: ``Affine_<epoch>.bin``.
        model: The model that it was trained for, such as bert-base-uncased, or a checkpoint of it.
        kb: The knowledge base that it was trained with; see
            :func:`knowledge_plugin.building.published.convert_published_vectors`.
        tokenizer: As in :meth:`KnowledgePlugin.for_model`.
        allow_pickle: Must be true, for the file is a pickle; it is read with PyTorch's ``weights_only``.

    Raises:
        ArtifactError: It was not allowed, or the file is no such mapping network.
        MappingError: It takes other vectors than those of the knowledge base, or leads to another width.

    Example:
        >>> kb = convert_published_vectors(  # doctest: +SKIP
        ...     "transe.npy", "entity2id.txt", "wikidata-transe", entity_map="entity_map.txt", name="Wikidata, TransE")
        >>> plugin = convert_published_mapping("Affine_5.bin", bert, kb, allow_pickle=True)  # doctest: +SKIP
    """
    weight, bias = read_published_mapping(path, allow_pickle=allow_pickle)
    plugin = KnowledgePlugin.for_model(model, kb, tokenizer, mapping="affine")
    shape = plugin.config.mapping
    if tuple(weight.shape) != (shape.output_dim, shape.input_dim):
        raise MappingError(
            f"{path} leads from width {weight.shape[1]} to {weight.shape[0]}; the vectors of {kb.config.name!r} are "
            f"{shape.input_dim} wide, and the model's word embeddings {shape.output_dim}. Give the knowledge base and "
            "the model that it was trained with."
        )
    with torch.no_grad():
        for parameter, value in zip(plugin.mapping.parameters(), (weight, bias), strict=True):
            parameter.copy_(value)
    plugin.mapping.requires_grad_(False)
    return plugin
