"""Controls: the same names and the same cost, without the knowledge.

A gain over no plugin can come from two more tokens, or from any vector at all. Only what a real knowledge base gains
over a shuffled one is knowledge.
"""

from __future__ import annotations

import torch

from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.knowledge_base import KnowledgeBase


def shuffled(kb: KnowledgeBase, seed: int = 0) -> KnowledgeBase:
    """Return a knowledge base with the same vectors under other entities; none keeps its own.

    Raises:
        KnowledgeBaseError: There is only one entity.

    Example:
        >>> from knowledge_plugin import Entity
        >>> kb = KnowledgeBase.from_entities([Entity("x:1", "A"), Entity("x:2", "B")], [[1.0], [2.0]], name="ab")
        >>> shuffled(kb).vectors([0, 1]).tolist()
        [[2.0], [1.0]]
    """
    if len(kb) < 2:
        raise KnowledgeBaseError("shuffled: expected a knowledge base of at least two entities, found one.")
    # Walk through the entities in a random order and hand each vector to the next one: a permutation that leaves
    # nobody in place.
    walk = torch.randperm(len(kb), generator=torch.Generator().manual_seed(seed))
    source = torch.empty_like(walk)
    source[walk] = walk.roll(1)
    return kb.with_vectors(kb.vectors(source))


def random(kb: KnowledgeBase, seed: int = 0) -> KnowledgeBase:
    """Return a knowledge base with Gaussian vectors, each as long as the entity's own.

    Example:
        >>> from knowledge_plugin import Entity
        >>> kb = KnowledgeBase.from_entities([Entity("x:1", "A")], [[3.0, 4.0]], name="a")
        >>> round(float(random(kb).vectors([0]).norm()), 3)
        5.0
    """
    vectors = kb.vectors(torch.arange(len(kb)))
    noise = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(seed))
    length = vectors.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return kb.with_vectors(noise * length)


def zero(kb: KnowledgeBase) -> KnowledgeBase:
    """Return a knowledge base in which every vector is zero, so that a mapping makes the same row of every entity.

    What is gained with it comes of telling the model that an entity stands there, whichever.

    Example:
        >>> from knowledge_plugin import Entity
        >>> kb = KnowledgeBase.from_entities([Entity("x:1", "A")], [[3.0, 4.0]], name="a")
        >>> zero(kb).vectors([0]).tolist()
        [[0.0, 0.0]]
    """
    return kb.with_vectors(torch.zeros(len(kb), kb.config.dim))
