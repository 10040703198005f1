"""The token ids beyond the vocabulary that stand for entities."""

from __future__ import annotations

import torch

# Ids are 32-bit in the tokenizers library. A range has room to grow, so that upsert needs no new attachment.
_MIN_CAPACITY = 2**16


class VirtualIds:
    """The range of token ids that stands for the rows of one knowledge base, one id or several for each row.

    Args:
        start: First virtual id; beyond every word of model and tokenizer.
        rows: Rows of the knowledge base now.
        tokens: How many ids, one after the other, stand for a row.

    Example:
        >>> ids = VirtualIds(1000, rows=5, tokens=2)
        >>> ids.of_row(3), ids.row(1007), ids.is_first(1007)
        (1006, 3, False)
    """

    def __init__(self, start: int, rows: int, tokens: int = 1) -> None:
        self.start, self.tokens = start, tokens
        self.stop = start + max(_MIN_CAPACITY, 2 * rows) * tokens

    @classmethod
    def none(cls) -> VirtualIds:
        """Return the empty range, of a method that puts no tokens into a text."""
        ids = cls(0, 0)
        ids.stop = ids.start
        return ids

    def __bool__(self) -> bool:
        return self.stop > self.start

    def __contains__(self, token_id: int) -> bool:
        return self.start <= token_id < self.stop

    def __repr__(self) -> str:
        return f"VirtualIds({self.start}, ..., {self.stop - 1})" if self else "VirtualIds.none()"

    def of_row(self, row: int) -> int:
        """Return the first id of a row."""
        return self.start + row * self.tokens

    def row(self, token_id: int) -> int:
        """Return the row that an id stands for."""
        return (token_id - self.start) // self.tokens

    def is_first(self, token_id: int) -> bool:
        """Return whether an id is the first of its row."""
        return (token_id - self.start) % self.tokens == 0

    def mask(self, ids: torch.Tensor) -> torch.Tensor:
        """Return where a tensor of token ids holds virtual ids of this range."""
        return (ids >= self.start) & (ids < self.stop)

    def any_in(self, ids: torch.Tensor) -> bool:
        """Return whether a tensor of token ids holds a virtual id of this range."""
        # Words lie below every range, so that plain text is told from its largest id alone.
        return bool(self) and ids.numel() > 0 and int(ids.max()) >= self.start and bool(self.mask(ids).any())
