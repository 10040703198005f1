"""Vectors of keys and values, for methods that look entries up: what an entry is about, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import torch

from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.knowledge_base import Entity

Encode = Callable[[list[str]], object]


def key_value_vectors(
    entities: Iterable[Entity], encode: Encode, encode_values: Encode | None = None
) -> tuple[torch.Tensor, int]:
    """Encode labels as keys and descriptions as values.

    An entity may be a thing ("Zorva Melin", "Zorva Melin lives in Graz.") or one fact of it, as KBLaM has it (Wang et
    al., 2025, section 3): "the home of Zorva Melin", "Graz".

    Args:
        entities: Each with a description.
        encode: From texts to vectors ``[n, dim]``, also as a list of tensors, such as
            ``SentenceTransformer(...).encode`` or a :class:`~knowledge_plugin.injection.word_vectors.WordEncoder`.
        encode_values: Another encoder for descriptions.

    Returns:
        float32 ``[entities, key_dim + value_dim]`` without a gradient, and ``key_dim``.

    Raises:
        KnowledgeBaseError: There is none, or one without a description; or an encoder does not give one vector of
            numbers for each text.

    Example:
        >>> def count(texts):
        ...     return [[text.count("a"), text.count("o")] for text in texts]
        >>> key_value_vectors([Entity("x:1", "Graz", description="a town on the Mur")], count)
        (tensor([[1., 0., 1., 2.]]), 2)
    """
    entities = list(entities)
    silent = next((entity for entity in entities if not (entity.description or "").strip()), None)
    if silent is not None or not entities:
        raise KnowledgeBaseError(
            f"{'none' if silent is None else repr(silent.id)}: expected entities with a description, which is the "
            "value that its label is the key to. Type: Entity(id, label, description=...)"
        )
    keys = _encoded("encode", encode, [entity.label for entity in entities])
    texts = [entity.description or "" for entity in entities]
    values = _encoded("encode" if encode_values is None else "encode_values", encode_values or encode, texts)
    return torch.cat([keys, values], dim=1), keys.shape[1]


def _encoded(name: str, encode: Encode, texts: list[str]) -> torch.Tensor:
    """Return float32 ``[texts, dim]`` on the CPU."""
    given: Any = encode(texts)
    found: object = type(given).__name__
    vectors = torch.empty(0)
    with suppress(TypeError, ValueError, RuntimeError):
        # Some encoders give a list of tensors, which torch.as_tensor does not take.
        listed = isinstance(given, (list, tuple)) and any(isinstance(row, torch.Tensor) for row in given)
        vectors = torch.as_tensor(torch.stack(list(given)) if listed else given, dtype=torch.float32).detach().cpu()
        found = list(vectors.shape)
    if vectors.dim() != 2 or len(vectors) != len(texts) or not vectors.shape[1]:
        raise KnowledgeBaseError(
            f"{name}: expected vectors [{len(texts)}, dim], one for each text, found {found}. Type: "
            "SentenceTransformer(...).encode, or WordEncoder(model, tokenizer)"
        )
    return vectors
