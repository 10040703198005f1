"""Vectors from what is written of the entities."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from rich.console import Console
from rich.progress import track

from knowledge_plugin.building.embedders.base import Embedding, Source
from knowledge_plugin.errors import ArtifactError, HubError, KnowledgeBaseError, MissingDependencyError

_CHUNK = 4_096
_SECONDS = 10.0  # for the Hub to answer at all
_NEXT = "Type: TextEmbedder('FOLDER') (--text-model FOLDER), with the folder of a sentence-transformers model"


@dataclass(frozen=True)
class TextEmbedder:
    """Encodes "label: description" with a model of sentence-transformers.

    Chunks of vectors are kept as they come, so an interrupted build goes on from there.

    Args:
        model: Name or path of the model, or the model itself. A name is looked up when a build begins, or at the
            first call.
        batch_size: Texts that are encoded together.
        device: Where; ``None`` for the model's own choice.
    """

    model: Any = "sentence-transformers/all-MiniLM-L6-v2"
    batch_size: int = 64
    device: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.model, (str, Path)) and not callable(getattr(self.model, "encode", None)):
            raise KnowledgeBaseError(
                "TextEmbedder: expected a model of sentence-transformers, its name or its folder, found "
                f"{type(self.model).__name__}. Type: TextEmbedder(SentenceTransformer(...))"
            )

    def __repr__(self) -> str:
        # Of a folder only the name: this goes into cards.
        name = str(self.model) if isinstance(self.model, (str, Path)) else _name_of(self.model)
        return f"TextEmbedder(model={(Path(name).name if Path(name).exists() else name)!r})"

    def __call__(self, source: Source) -> Embedding:
        """Encode what is not encoded yet."""
        texts = to_texts(source.entities)
        encoder = self.encoder
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

    @cached_property
    def encoder(self) -> Any:
        """The model, loaded when it is first asked for.

        Raises:
            MissingDependencyError: sentence-transformers is not installed.
            HubError: Neither the cache nor the Hub has a model of this name, or the Hub was not reached.
            ArtifactError: The folder holds no model.
        """
        return _load(str(self.model), self.device) if isinstance(self.model, (str, Path)) else self.model


def _load(name: str, device: str | None) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as error:
        raise MissingDependencyError("text", "sentence-transformers") from error
    is_here = Path(name).exists()
    # From the cache alone if nobody answers: else each file of the model would be asked for five times.
    is_reached = is_here or _is_reached(name)
    try:
        return SentenceTransformer(name, device=device, local_files_only=not is_reached)
    except (OSError, ValueError) as error:  # both are said of what is no model
        if is_here:
            raise ArtifactError(f"{name}: no model that sentence-transformers can load: {error}. {_NEXT}.") from error
        missing = f"{name}: there is no folder {Path(name).absolute()}"
        if is_reached:
            raise HubError(f"{missing}, and no model that can be loaded from the Hub: {error}") from error
        raise HubError(
            f"{missing}, no model of this name is in the cache, and the Hub was not reached (offline, or no network). "
            f"{_NEXT}, or connect once."
        ) from error


def _is_reached(name: str) -> bool:
    """Say whether the Hub answers, whatever it says of the name."""
    try:
        HfApi().model_info(name, timeout=_SECONDS)
    except (HfHubHTTPError, HFValidationError):
        pass
    except Exception:  # of the HTTP library, which has changed more than once; or offline on purpose
        return False
    return True


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
