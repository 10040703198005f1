"""Vectors from what is written of the entities."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import track

from knowledge_plugin.building.embedders.base import Embedding, Source
from knowledge_plugin.errors import MissingDependencyError

_CHUNK = 4_096


@dataclass(frozen=True)
class TextEmbedder:
    """Encodes "label: description" with a model of sentence-transformers.

    Chunks of vectors are kept as they come, so an interrupted build goes on from there.

    Args:
        model: Name or path of the model, or the model itself.
        batch_size: Texts that are encoded together.
        device: Where; ``None`` for the model's own choice.
    """

    model: Any = "sentence-transformers/all-MiniLM-L6-v2"
    batch_size: int = 64
    device: str | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        # Of a folder only the name: this goes into cards.
        name = str(self.model) if isinstance(self.model, (str, Path)) else _name_of(self.model)
        return f"TextEmbedder(model={(Path(name).name if Path(name).exists() else name)!r})"

    def __call__(self, source: Source) -> Embedding:
        """Encode what is not encoded yet."""
        texts = to_texts(source.entities)
        encoder = self._encoder()
        starts = range(0, len(texts), _CHUNK)
        chunks: list[np.ndarray] = []
        for start in track(
            starts, "encoding", console=Console(stderr=True), disable=not source.progress, transient=True
        ):
            path = source.folder / f"text-{start:09d}.npy"
            if not path.is_file():
                vectors = encoder.encode(
                    texts[start : start + _CHUNK].to_pylist(),
                    batch_size=self.batch_size,
                    show_progress_bar=False,
                    convert_to_numpy=True,
                )
                beside = path.with_suffix(".partial.npy")
                np.save(beside, vectors.astype(np.float32))
                beside.replace(path)
            chunks.append(np.load(path, mmap_mode="r"))
        return Embedding(source.entities["id"].to_pylist(), np.concatenate(chunks))

    def _encoder(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ModuleNotFoundError as error:
            raise MissingDependencyError("text", "sentence-transformers") from error
        if isinstance(self.model, (str, Path)):
            return SentenceTransformer(str(self.model), device=self.device)
        return self.model


def to_texts(entities: pa.Table) -> pa.ChunkedArray:
    """Return "label: description" of each entity, or the label alone where it has no description.

    Example:
        >>> to_texts(pa.table({"label": ["Oslo", "Rome"], "description": ["capital of Norway", None]})).to_pylist()
        ['Oslo: capital of Norway', 'Rome']
    """
    both = pc.binary_join_element_wise(entities["label"], entities["description"].cast(pa.string()), ": ")
    return pc.coalesce(both, entities["label"])


def _name_of(model: Any) -> str:
    card = getattr(model, "model_card_data", None)
    return str(getattr(card, "base_model", None) or type(model).__name__)
