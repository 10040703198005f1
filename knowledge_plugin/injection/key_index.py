"""Finding entries by their keys: inner-product search through FAISS."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from knowledge_plugin.errors import MissingDependencyError

# Up to here every key is looked at; beyond, only those in the cells nearest to the query.
_FLAT = 200_000
_SHARE_OF_CELLS = 16


class KeyIndex:
    """Keys ``[n, dim]`` in an order that is searched by inner product.

    Args:
        keys: float32 ``[n, dim]``.

    Raises:
        MissingDependencyError: FAISS is not installed.

    Example:
        >>> KeyIndex(torch.eye(3)).search(torch.tensor([[0.0, 2.0, 1.0]]), 2).tolist()
        [[1, 2]]
    """

    def __init__(self, keys: torch.Tensor) -> None:
        try:
            import faiss
        except ModuleNotFoundError as error:
            raise MissingDependencyError("memory", "faiss-cpu") from error
        n, dim = keys.shape
        array = np.ascontiguousarray(keys.detach().float().cpu().numpy())
        self._index: Any = faiss.IndexFlatIP(dim)
        if n > _FLAT:
            cells = int(4 * n**0.5)
            self._index = faiss.IndexIVFFlat(self._index, dim, cells, faiss.METRIC_INNER_PRODUCT)
            self._index.nprobe = max(1, cells // _SHARE_OF_CELLS)
            self._index.train(array)
        self._index.add(array)

    def __len__(self) -> int:
        return self._index.ntotal

    def search(self, queries: torch.Tensor, top: int) -> torch.Tensor:
        """Return rows, int64 ``[q, top]`` on the CPU, of the best keys for queries ``[q, dim]``, the best first."""
        array = np.ascontiguousarray(queries.detach().float().cpu().numpy())
        _, rows = self._index.search(array, min(top, len(self)))
        return torch.from_numpy(rows)
