"""Controls: the same names and the same cost, without the knowledge.

A gain over no plugin can come from two more tokens, or from any vector at all. Only what a real knowledge base gains
over a shuffled one is knowledge.
"""

from __future__ import annotations

import torch

from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.knowledge_base import KnowledgeBase


def shuffled(kb: KnowledgeBase, seed: int = 0, *, key_dim: int = 0) -> KnowledgeBase:
    """Return a knowledge base with the same vectors under other entities; none keeps its own.

    Where entries are found by a key, the key stays and what it leads to is another's: to shuffle whole vectors would
    only number the entries anew.

    Args:
        kb: The knowledge base.
        seed: Of the permutation.
        key_dim: How many numbers of a vector, from the first on, are its key; see
            :class:`~knowledge_plugin.config.LayerInjectionConfig`.

    Raises:
        KnowledgeBaseError: There is only one entity, or its vectors are keys and nothing else.

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
    return kb.with_vectors(_with_keys(kb, kb.vectors(source), key_dim))


def _with_keys(kb: KnowledgeBase, vectors: torch.Tensor, key_dim: int) -> torch.Tensor:
    """Put the keys of the entities back into vectors that are not theirs."""
    if not key_dim:
        return vectors
    if key_dim >= kb.config.dim:
        raise KnowledgeBaseError(
            f"the vectors of {kb.config.name!r} are keys as a whole, so that no entry can be found that says something "
            "else. Build it of keys and values: knowledge_plugin.building.key_value_vectors(...)"
        )
    return torch.cat([kb.vectors(torch.arange(len(kb)))[:, :key_dim], vectors[:, key_dim:]], dim=1)


def random(kb: KnowledgeBase, seed: int = 0, *, key_dim: int = 0) -> KnowledgeBase:
    """Return a knowledge base with Gaussian vectors, each as long as the entity's own; keys stay, as in shuffled.

    Example:
        >>> from knowledge_plugin import Entity
        >>> kb = KnowledgeBase.from_entities([Entity("x:1", "A")], [[3.0, 4.0]], name="a")
        >>> round(float(random(kb).vectors([0]).norm()), 3)
        5.0
    """
    vectors = kb.vectors(torch.arange(len(kb)))
    if 0 < key_dim < kb.config.dim:  # as long as what the key leads to
        vectors = torch.cat([torch.zeros(len(kb), key_dim), vectors[:, key_dim:]], dim=1)
    noise = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(seed))
    noise[:, : key_dim if key_dim < kb.config.dim else 0] = 0
    length = vectors.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return kb.with_vectors(_with_keys(kb, noise * length, key_dim))


def zero(kb: KnowledgeBase, *, key_dim: int = 0) -> KnowledgeBase:
    """Return a knowledge base in which every vector is zero, so that a mapping makes the same row of every entity.

    Keys stay, as in shuffled.

    What is gained with it comes of telling the model that an entity stands there, whichever.

    Example:
        >>> from knowledge_plugin import Entity
        >>> kb = KnowledgeBase.from_entities([Entity("x:1", "A")], [[3.0, 4.0]], name="a")
        >>> zero(kb).vectors([0]).tolist()
        [[0.0, 0.0]]
    """
    return kb.with_vectors(_with_keys(kb, torch.zeros(len(kb), kb.config.dim), key_dim))
