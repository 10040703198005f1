"""Vectors of keys and values, for methods that look entries up: what an entry is about, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.knowledge_base import Entity

Encode = Callable[[list[str]], object]


def key_value_vectors(
    entities: Sequence[Entity], encode: Encode, encode_values: Encode | None = None
) -> tuple[torch.Tensor, int]:
    """Encode labels as keys and descriptions as values.

    An entity may be a thing ("Zorva Melin", "Zorva Melin lives in Graz.") or one fact of it, as KBLaM has it (Wang et
    al., 2025, section 3): "the home of Zorva Melin", "Graz".

    Args:
        entities: Each with a description.
        encode: From texts to vectors ``[n, dim]``, such as ``SentenceTransformer(...).encode`` or a
            :class:`~knowledge_plugin.injection.word_vectors.WordEncoder`.
        encode_values: Another encoder for descriptions.

    Returns:
        float32 ``[entities, key_dim + value_dim]``, and ``key_dim``.

    Raises:
        KnowledgeBaseError: There is none, or one without a description.

    Example:
        >>> def count(texts):
        ...     return [[text.count("a"), text.count("o")] for text in texts]
        >>> key_value_vectors([Entity("x:1", "Graz", description="a town on the Mur")], count)
        (tensor([[1., 0., 1., 2.]]), 2)
    """
    silent = next((entity for entity in entities if not (entity.description or "").strip()), None)
    if silent is not None or not entities:
        raise KnowledgeBaseError(
            f"{'none' if silent is None else repr(silent.id)}: expected entities with a description, which is the "
            "value that its label is the key to. Type: Entity(id, label, description=...)"
        )
    keys = torch.as_tensor(encode([entity.label for entity in entities]), dtype=torch.float32)
    texts = [entity.description or "" for entity in entities]
    values = torch.as_tensor((encode_values or encode)(texts), dtype=torch.float32)
    return torch.cat([keys, values], dim=1), keys.shape[1]
