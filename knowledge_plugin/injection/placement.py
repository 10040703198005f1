"""Where the entity vectors are kept while a plugin is attached."""

from __future__ import annotations

from typing import Literal

import torch

from knowledge_plugin.errors import AttachmentError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.knowledge_base.embedding_index import EmbeddingIndex

IndexDevice = Literal["auto", "cpu", "cuda", "disk"]
INDEX_DEVICES = ("auto", "cpu", "cuda", "disk")

# The rest of a GPU's free memory is for activations and the key-value cache.
_SHARE_OF_FREE_MEMORY = 0.5


class PlacedIndex:
    """The vectors of a knowledge base, on a GPU or where the knowledge base itself keeps them.

    It is no module and no buffer: Accelerate would load all of an offloaded table at every forward, and
    DistributedDataParallel would send it to every process.

    Args:
        knowledge_base: Whose vectors. If it grows, the copy on the GPU is made anew.
        gpu: Keep a copy there; ``None`` reads from the knowledge base.
    """

    def __init__(self, knowledge_base: KnowledgeBase, gpu: torch.device | None = None) -> None:
        self.knowledge_base = knowledge_base
        self.gpu = gpu
        # What was copied, and the copy: one tuple, because threads may look while another one copies.
        self._copy: tuple[EmbeddingIndex, EmbeddingIndex] | None = None
        self.index  # noqa: B018  so that too little memory is said when attaching

    @property
    def index(self) -> EmbeddingIndex:
        """The vectors as they are now."""
        current = self.knowledge_base.index
        if self.gpu is None:
            return current
        copy = self._copy
        if copy is None or copy[0] is not current:
            copy = self._copy = (current, current.to(self.gpu))
        return copy[1]

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return vectors, float32 ``[n, dim]`` on the index's device, of rows int64 ``[n]``.

        Raises:
            AttachmentError: A row that the knowledge base does not have.
        """
        index = self.index
        if len(rows) and int(rows.max()) >= len(index):
            raise AttachmentError(
                f"found the virtual id of row {int(rows.max())}, but the knowledge base has {len(index)} rows. Ids "
                "must come from the tokenizer of the attachment: model, tokenizer = plugin.attach(model, tokenizer)"
            )
        return index.gather(rows.to(index.device))

    @property
    def where(self) -> str:
        """``"cuda:0"`` and the like, ``"cpu"``, or ``"disk"`` if the vectors are mapped from there."""
        if self.gpu is not None:
            return str(self.gpu)
        return "disk" if self.knowledge_base.index.is_mapped else "cpu"


def choose_gpu(nbytes: int, wanted: IndexDevice, embedding_device: torch.device) -> torch.device | None:
    """Decide whether the vectors go to a GPU.

    Args:
        nbytes: Size of all vectors as they are stored.
        wanted: What the user asked for. ``"auto"``: beside the word embeddings if these are on a GPU whose free
            memory, by Accelerate's figures, is at least twice as large.
        embedding_device: Where words are looked up.

    Returns:
        The GPU, or ``None`` for memory or disk.

    Raises:
        AttachmentError: ``"cuda"`` was asked for and there is none.
        ValueError: Something else was asked for.
    """
    if wanted not in INDEX_DEVICES:
        raise ValueError(f"index_device: expected one of {', '.join(INDEX_DEVICES)}, found {wanted!r:.80}.")
    if wanted == "cuda":
        if embedding_device.type == "cuda":
            return embedding_device
        if not torch.cuda.is_available():
            raise AttachmentError("index_device='cuda': found no GPU. Type: index_device='auto', 'cpu' or 'disk'")
        return torch.device("cuda", torch.cuda.current_device())
    if wanted != "auto" or embedding_device.type != "cuda":
        return None
    # Accelerate's own figure; asking Accelerate for it would open every other GPU of the machine too.
    free, _ = torch.cuda.mem_get_info(embedding_device)
    return embedding_device if nbytes <= _SHARE_OF_FREE_MEMORY * free else None
