"""The embedding hook: virtual token ids in, mapped entity vectors out.

A virtual id is ``start + row``. Before a word-embedding module looks ids up, virtual ids are replaced by 0; after it,
the vectors at their places are replaced by mapped entity vectors. All knowledge travels in the ids: nothing stays on
the model between calls, so threads and batches cannot mix. Text without a virtual id passes through untouched.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from knowledge_plugin.errors import AttachmentError
from knowledge_plugin.injection.embeddings import as_looked_up, embedding_modules
from knowledge_plugin.injection.mapping import MappingNetwork

# Ids are 32-bit in the tokenizers library. A range has room to grow, so that upsert needs no new attachment.
_MIN_CAPACITY = 2**16


class VirtualIds:
    """The range of token ids that stands for the rows of one knowledge base: ``start + row``.

    Args:
        start: First virtual id; beyond every word of model and tokenizer.
        rows: Rows of the knowledge base now.
    """

    def __init__(self, start: int, rows: int) -> None:
        self.start = start
        self.stop = start + max(_MIN_CAPACITY, 2 * rows)

    def __contains__(self, token_id: int) -> bool:
        return self.start <= token_id < self.stop


class EmbeddingHook:
    """What is hung on the word-embedding modules of one model for one plugin.

    Args:
        vectors: Returns entity vectors, float32 ``[n, dim]`` on the CPU, for rows int64 ``[n]``.
        mapping: The mapping network, looked up anew at each call.
        ids: The virtual ids of the plugin.
        vocab_size: Rows of the embedding weight at the time of attaching.
    """

    def __init__(
        self,
        vectors: Callable[[torch.Tensor], torch.Tensor],
        mapping: MappingNetwork,
        ids: VirtualIds,
        vocab_size: int,
    ) -> None:
        self.vectors = vectors
        self.mapping = mapping
        self.ids = ids
        self.vocab_size = vocab_size
        self._handles: list[RemovableHandle] = []
        self._looked_up = threading.local()

    def attach(self, model: nn.Module) -> None:
        """Hang the hook on every module that shares the model's word embeddings, and guard the labels."""
        for module in embedding_modules(model):
            self._handles.append(module.register_forward_pre_hook(self._before, with_kwargs=True, prepend=True))
            self._handles.append(module.register_forward_hook(self._after, with_kwargs=True))
        self._handles.append(model.register_forward_pre_hook(self._hide_labels, with_kwargs=True))

    def detach(self) -> None:
        """Take every hook away again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def is_mine(self, ids: torch.Tensor) -> torch.Tensor:
        """Return where a tensor of token ids holds virtual ids of this plugin."""
        return (ids >= self.ids.start) & (ids < self.ids.stop)

    def _before(self, module: nn.Embedding, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if module.num_embeddings != self.vocab_size:
            raise AttachmentError(
                f"the model's word embeddings were resized from {self.vocab_size} to {module.num_embeddings} rows "
                "while a plugin was attached, so that virtual ids now mean words. Detach, resize, then attach."
            )
        ids = args[0] if args else kwargs["input"]
        # One slot and no stack: a forward that raises leaves nothing behind.
        self._looked_up.ids = ids
        words = ids.masked_fill(self.is_mine(ids), 0)
        return ((words, *args[1:]), kwargs) if args else (args, {**kwargs, "input": words})

    def _after(self, module: nn.Embedding, args: tuple, kwargs: dict, output: torch.Tensor) -> torch.Tensor:
        ids, self._looked_up.ids = self._looked_up.ids, None
        mine = self.is_mine(ids)
        rows, place = torch.unique(ids[mine] - self.ids.start, return_inverse=True)
        if len(rows) == 0:
            return self._keep_gradient(output)
        mapped = self.mapping(self.vectors(rows).to(self.mapping.device))
        mapped = as_looked_up(module, mapped.to(output.device, output.dtype))
        output = output.clone()
        output[mine.to(output.device)] = mapped[place.to(output.device)].to(output.dtype)
        return output

    def _keep_gradient(self, output: torch.Tensor) -> torch.Tensor:
        """While the mapping learns, let a batch without mentions have a gradient too: of zero."""
        learns = self.mapping.training and any(p.requires_grad for p in self.mapping.parameters())
        if not learns or not torch.is_grad_enabled():
            return output
        nothing = torch.stack([p.sum() for p in self.mapping.parameters()]).sum() * 0
        return output + nothing.to(output.device, output.dtype)

    def _hide_labels(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        """Keep virtual ids out of the loss, when labels are a copy of the input ids."""
        labels = kwargs.get("labels")
        if not isinstance(labels, torch.Tensor) or labels.is_floating_point():
            return None
        return args, {**kwargs, "labels": labels.masked_fill(self.is_mine(labels), -100)}

    def __deepcopy__(self, memo: dict) -> EmbeddingHook:
        return self  # a copied model shares the plugin with its original

    def __getstate__(self) -> dict:
        # Neither thread-local slots nor handles can be pickled, and a copy in another process owns no handles here.
        return {**self.__dict__, "_looked_up": None, "_handles": []}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _looked_up=threading.local())


def find_hooks(model: nn.Module) -> list[EmbeddingHook]:
    """Return the embedding hooks that are attached to a model."""
    hooks: list[EmbeddingHook] = []
    for module in embedding_modules(model):
        for function in module._forward_hooks.values():
            owner = getattr(function, "__self__", None)
            if isinstance(owner, EmbeddingHook) and owner not in hooks:
                hooks.append(owner)
    return hooks
