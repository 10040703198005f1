"""Embedders: from what is known of entities to a vector for each.

An embedder is any callable that takes a :class:`Source` and returns an :class:`Embedding`. The module of each has its
own options: ``graph`` (PyKEEN), ``text`` (sentence-transformers), ``mentions`` (PELT), ``foreign`` (vectors that others
made, Wikipedia2Vec's for E-BERT among them) and ``combined``.
"""

from knowledge_plugin.building.embedders.base import Embedder, Embedding, Source, describe
from knowledge_plugin.building.embedders.combined import CombinedEmbedder
from knowledge_plugin.building.embedders.foreign import ForeignVectors
from knowledge_plugin.building.embedders.graph import GraphEmbedder
from knowledge_plugin.building.embedders.mentions import MentionEmbedder
from knowledge_plugin.building.embedders.text import TextEmbedder

__all__ = [
    "CombinedEmbedder",
    "Embedder",
    "Embedding",
    "ForeignVectors",
    "GraphEmbedder",
    "MentionEmbedder",
    "Source",
    "TextEmbedder",
    "describe",
]
