"""The models that are measured: random weights, real sizes."""

from __future__ import annotations

import torch
from transformers import BertConfig, BertForSequenceClassification

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.injection.embedding_hook import EmbeddingHook
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.injection.virtual_ids import VirtualIds


def minilm() -> BertForSequenceClassification:
    """Return a randomly initialised model of the size of MiniLM-L6 (22 million parameters)."""
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=30_522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
        )
    ).eval()


def with_plugin(model: BertForSequenceClassification, plugin: KnowledgePlugin) -> BertForSequenceClassification:
    """Return a model of the very same weights, in the same memory, to which the plugin is attached."""
    twin = minilm()
    twin.load_state_dict(model.state_dict(), assign=True)
    ids = VirtualIds(model.config.vocab_size, len(plugin.knowledge_base))
    EmbeddingHook(PlacedIndex(plugin.knowledge_base), plugin.mapping, ids, model.config.vocab_size).attach(twin)
    return twin
