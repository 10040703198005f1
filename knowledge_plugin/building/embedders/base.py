"""What every embedder takes and gives."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from knowledge_plugin.building.file_state import state_of


@dataclass(frozen=True)
class Source:
    """What is known of the entities.

    Attributes:
        entities: Columns ``id``, ``label``, ``aliases``, ``description``, ``types`` and ``popularity``.
        triples: Columns ``head``, ``relation`` and ``tail``, of ids; ``None`` if there are none.
        folder: The embedder's own: what it leaves here is here still when an interrupted build goes on.
        progress: Whether to show progress on stderr.
    """

    entities: pa.Table
    triples: pa.Table | None
    folder: Path
    progress: bool = True


@dataclass(frozen=True)
class Embedding:
    """Vectors of some entities; the others have none, and stay out of the knowledge base.

    Attributes:
        ids: Whose vectors, ``n`` of them.
        vectors: float32 ``[n, dim]``.
        measures: What was measured, such as ``{"hits@10": 0.41}``.
    """

    ids: Sequence[str]
    vectors: np.ndarray
    measures: Mapping[str, float] = field(default_factory=dict)


class Embedder(Protocol):
    """Anything that makes vectors of a :class:`Source`.

    Example:
        >>> def letters(source):
        ...     ids, labels = source.entities["id"].to_pylist(), source.entities["label"].to_pylist()
        ...     return Embedding(ids, np.array([[label.count(x) for x in "aeiou"] for label in labels], np.float32))
        >>> table = pa.table({"id": ["x:1"], "label": ["Oslo"]})
        >>> letters(Source(table, None, Path("."))).vectors
        array([[0., 0., 0., 1., 0.]], dtype=float32)
    """

    def __call__(self, source: Source, /) -> Embedding:
        """Make the vectors."""
        ...


def describe(embedder: object) -> str:
    """Return an embedder in words, for the card: a dataclass says its options, of anything else there is the name."""
    if is_dataclass(embedder):
        return repr(embedder)
    return getattr(embedder, "__qualname__", type(embedder).__qualname__)


def fingerprint(embedder: Any) -> list:
    """Return what tells whether an embedder is the same as in an interrupted build: its options, and files they name.

    Of a dataclass whose fields are texts, paths and numbers that is known. Anything else, such as a function or a model
    in memory, may have changed without a sign, and is never taken for the same.
    """
    parts = [fingerprint(part) for part in getattr(embedder, "embedders", ())]
    if not is_dataclass(embedder):
        return [uuid.uuid4().hex]
    values = [getattr(embedder, item.name) for item in fields(embedder) if item.name != "embedders"]
    paths = [value for value in values if isinstance(value, (str, Path)) and Path(value).exists()]
    plain = all(value is None or isinstance(value, (str, Path, int, float)) for value in values)
    return [describe(embedder), *map(state_of, paths), *parts, *([] if plain else [uuid.uuid4().hex])]
