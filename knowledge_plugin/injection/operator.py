"""The one step of the embedding hook that a compiler is not to look into.

A compiled graph has fixed shapes, so it would map a vector for every token of a batch to use a few of them. As an
operator of its own, the step stays one node of the graph and maps only the entities that are there.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Protocol

import torch


class RowSource(Protocol):
    """What the operator asks: an embedding hook."""

    def dense_rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Return float32 ``[*ids.shape, width]``: the mapped vector where an id is a virtual one, else zeros."""
        ...


# Operators take tensors and numbers only, so a graph knows a hook by its number.
_SOURCES: weakref.WeakValueDictionary[int, RowSource] = weakref.WeakValueDictionary()
_NUMBERS = itertools.count()


def register(source: RowSource) -> int:
    """Return a number for a hook, by which :func:`virtual_rows` finds it in this process."""
    number = next(_NUMBERS)
    _SOURCES[number] = source
    return number


# It waits for the GPU to count mentions, which a recorded CUDA graph could not repeat.
@torch.library.custom_op("knowledge_plugin::virtual_rows", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,))
def virtual_rows(ids: torch.Tensor, source: int, width: int) -> torch.Tensor:
    """Return float32 ``[*ids.shape, width]``: the mapped vector where an id is a virtual one, and zeros elsewhere."""
    return _SOURCES[source].dense_rows(ids)


@virtual_rows.register_fake
def _(ids: torch.Tensor, source: int, width: int) -> torch.Tensor:
    return ids.new_empty((*ids.shape, width), dtype=torch.float32)
