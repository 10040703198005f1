"""What a build is called with, checked before anything is read: each refusal says what to type instead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.knowledge_base import Entity

_GRAPH_MODELS = ("TransE", "RotatE", "DistMult", "ComplEx")
_FROM_ENTITIES = "KnowledgeBase.from_entities(entities, vectors, name=...).save_pretrained(output)"


def check_sources(entities: object, triples: object, vectors: object) -> None:
    """Refuse what is no path.

    Raises:
        KnowledgeBaseError: Entities, triples or vectors that are in memory.
    """
    _check_path("entities", entities, _instead_of_entities(entities))
    if triples is not None:
        _check_path("triples", triples, "write them into a file, head, relation and tail on a line: triples='t.tsv'")
    if vectors is not None:
        in_a_file = "numpy.save('v.npy', vectors), their ids one a line in v.txt, and vectors='v.npy'"
        _check_path("vectors", vectors, f"{_FROM_ENTITIES}, with entities in their order; or {in_a_file}")


def _check_path(what: str, found: object, instead: str) -> None:
    if not isinstance(found, (str, os.PathLike)):
        raise KnowledgeBaseError(f"{what}: expected the path of a file, found {type(found).__name__}. Type: {instead}")


def _instead_of_entities(entities: object) -> str:
    if isinstance(entities, Sequence) and entities and isinstance(entities[0], Entity):
        return _FROM_ENTITIES
    table = "KnowledgeBase.from_table(pyarrow.Table.from_pandas(frame), vectors, name=...).save_pretrained(output)"
    return f"{_FROM_ENTITIES}, or of a data frame {table}"


def check_embedder(embedder: Any) -> None:
    """Refuse what is no embedder.

    Raises:
        KnowledgeBaseError: A name, a class, a model, or the method of a model.
    """
    if isinstance(embedder, str):
        found, instead = f"the text {embedder!r:.80}", _instead_of_name(embedder)
    elif isinstance(embedder, type):
        found, instead = f"the class {embedder.__name__}", f"embedder={embedder.__name__}(...)"
    elif _encodes(owner := getattr(embedder, "__self__", None)) and embedder.__name__ == "encode":
        found, instead = f"{type(owner).__name__}.encode, which takes texts", "embedder=TextEmbedder(model)"
    elif _encodes(embedder):
        found, instead = f"a model ({type(embedder).__name__})", "embedder=TextEmbedder(model)"
    elif isinstance(embedder, torch.nn.Module) or not callable(embedder):
        found, instead = type(embedder).__name__, "embedder=TextEmbedder(), or a function of your own"
    else:
        return
    raise KnowledgeBaseError(
        f"embedder: expected one of knowledge_plugin.building.embedders, or a function that takes a Source and returns "
        f"an Embedding, found {found}. Type: {instead}"
    )


def _instead_of_name(name: str) -> str:
    if name.lower() in (known := {model.lower(): model for model in _GRAPH_MODELS}):
        return f"embedder=GraphEmbedder({known[name.lower()]!r}), with triples=PATH"
    return "embedder=TextEmbedder()" if name.lower() == "text" else f"embedder=TextEmbedder({name!r:.80})"


def _encodes(model: object) -> bool:
    return model is not None and callable(getattr(model, "encode", None))
