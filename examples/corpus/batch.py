"""What is done to a batch of a corpus: the same function on one machine and on many.

Each takes a ``pyarrow.Table`` and returns it with one more column. It travels to its workers as the path of what it
needs, and each worker opens that once, at its first batch.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from knowledge_plugin import KnowledgeBase
from knowledge_plugin.linking import DictionaryLinker
from knowledge_plugin.linking.mention import Linker

MENTIONS = pa.list_(
    pa.struct({"start": pa.int64(), "end": pa.int64(), "entity_id": pa.string(), "score": pa.float32()})
)


class _OpenedOnce:
    """Drops what was opened when it is sent to a worker, or hashed by ``datasets``."""

    _opened: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}

    def opened(self) -> Any:
        if self._opened is None:
            self._opened = self.open()
        return self._opened

    def open(self) -> Any:
        raise NotImplementedError


class LinkTexts(_OpenedOnce):
    """Adds the mentions in the column ``text`` as the column ``mentions``.

    Args:
        knowledge_base: Folder, or dataset repo of the Hub.
        disambiguate: ``"prior"`` or ``"context"``, as in :class:`~knowledge_plugin.linking.DictionaryLinker`.
    """

    def __init__(self, knowledge_base: str, disambiguate: str = "prior") -> None:
        self.knowledge_base = knowledge_base
        self.disambiguate = disambiguate

    def open(self) -> Linker:
        kb = KnowledgeBase.from_pretrained(self.knowledge_base, vectors=self.disambiguate == "context")
        return DictionaryLinker(kb, disambiguate=self.disambiguate)  # type: ignore[arg-type]

    def __call__(self, batch: pa.Table) -> pa.Table:
        texts = [text or "" for text in batch["text"].to_pylist()]
        mentions = [[mention._asdict() for mention in row] for row in self.opened()(texts)]
        return batch.append_column("mentions", pa.array(mentions, MENTIONS))


class EmbedDescriptions(_OpenedOnce):
    """Adds the vectors of "label: description" as the column ``embedding``.

    Args:
        model: Folder or name of a sentence-transformers model (``pip install 'knowledge-plugin[text]'``).
    """

    def __init__(self, model: str) -> None:
        self.model = model

    def open(self) -> Any:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(self.model)

    def __call__(self, batch: pa.Table) -> pa.Table:
        pairs = zip(batch["label"].to_pylist(), batch["description"].to_pylist(), strict=True)
        texts = [f"{label}: {description}" if description else label for label, description in pairs]
        vectors = self.opened().encode(texts, show_progress_bar=False)
        flat = pa.array(vectors.astype("float32").reshape(-1))
        return batch.append_column("embedding", pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
