"""Vectors that others made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from knowledge_plugin.building.embedders.base import Embedding, Source
from knowledge_plugin.building.readers import read_vectors


@dataclass(frozen=True)
class ForeignVectors:
    """Takes vectors from a file, by id or, as Wikipedia2Vec has them, by title.

    With ``prefix="ENTITY/", by="label"`` these are the entity vectors that E-BERT (Poerner et al. 2020) carries into
    word-embedding space; its closed form, fitted on the words that both vocabularies share, is
    ``align(..., targets="words")``. Of entities of the same label, the most popular gets the vector.

    Args:
        path: As for :func:`~knowledge_plugin.building.readers.read_vectors`.
        prefix: Of the names in a word2vec file; other rows are left out.
        by: What the file calls an entity by.
    """

    path: str | Path
    prefix: str = ""
    by: Literal["id", "label"] = "id"

    def __repr__(self) -> str:
        # Without the folder: this goes into cards.
        return f"ForeignVectors({Path(self.path).name!r}, prefix={self.prefix!r}, by={self.by!r})"

    def __call__(self, source: Source) -> Embedding:
        """Read the file."""
        found = read_vectors(self.path, **({"prefix": self.prefix} if self.prefix else {}))
        if self.by == "id":
            return Embedding(found.ids, found.vectors)
        rows = {name.replace("_", " "): row for row, name in enumerate(found.ids)}
        columns = (source.entities[name].to_pylist() for name in ("id", "label", "popularity"))
        # Sorting is stable: of equal popularity, the first.
        named = sorted(zip(*columns, strict=True), key=lambda entity: -(entity[2] or 0))
        chosen: dict[str, int] = {}
        for entity_id, label, _ in named:
            if (row := rows.pop(label.replace("_", " "), None)) is not None:
                chosen[entity_id] = row
        return Embedding(list(chosen), np.asarray(found.vectors[list(chosen.values())], np.float32))
