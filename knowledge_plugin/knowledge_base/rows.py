"""Row numbers that come from outside: from a caller, or from the tables of a stranger."""

from __future__ import annotations

import operator
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from knowledge_plugin.errors import ArtifactError, KnowledgeBaseError, UnknownRowError

_WHOLE = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64}


def row_number(row: Any, count: int) -> int:
    """Return a row number as an ``int``.

    Raises:
        UnknownRowError: It is out of range.
        KnowledgeBaseError: It is no whole number.
    """
    if type(row) is int and 0 <= row < count:  # linkers ask for every mention
        return row
    number = None
    with suppress(TypeError):
        number = None if isinstance(row, bool) else operator.index(row)
    if number is None:
        raise KnowledgeBaseError(f"row: expected a whole number, found {row!r:.80}.")
    if not 0 <= number < count:
        raise UnknownRowError(f"row: expected a number from 0 to {count - 1}, found {number}.")
    return number


def row_numbers(rows: object, count: int) -> torch.Tensor:
    """Return row numbers as int64 ``[n]`` on the CPU.

    Args:
        rows: A tensor, array or list ``[n]`` of whole numbers.
        count: How many rows there are.

    Raises:
        UnknownRowError: One of them is out of range.
        KnowledgeBaseError: They are no list of whole numbers.
    """
    numbers = rows.cpu() if isinstance(rows, torch.Tensor) else _from_array(rows)
    if numbers.ndim != 1 or numbers.dtype not in _WHOLE:
        raise KnowledgeBaseError(f"rows: expected whole numbers [n], found {list(numbers.shape)} {numbers.dtype}.")
    numbers = numbers.long()
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < count:
        raise UnknownRowError(
            f"rows: expected numbers from 0 to {count - 1}, found {int(numbers.min())} to {int(numbers.max())}."
        )
    return numbers


def _from_array(rows: object) -> torch.Tensor:
    try:
        numbers = np.asarray(rows)
    except ValueError as error:
        raise KnowledgeBaseError(f"rows: expected whole numbers [n]: {error}") from error
    if numbers.size and numbers.dtype.kind not in "iu":
        raise KnowledgeBaseError(f"rows: expected whole numbers [n], found {list(numbers.shape)} {numbers.dtype}.")
    return torch.from_numpy(numbers.astype(np.int64))  # int64 even if empty


def check_rows(rows: np.ndarray, count: int, where: object) -> None:
    """Raise :class:`ArtifactError` if a name leads to a row that is not there."""
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        raise ArtifactError(f"{where}: the alias table leads to rows that are not there (0 to {count - 1} are).")


def check_priors(priors: np.ndarray, where: object) -> None:
    """Raise :class:`ArtifactError` if a prior is no share."""
    if len(priors) and not 0 <= float(priors.min()) <= float(priors.max()) <= 1:
        raise ArtifactError(f"{where}: the alias table holds a prior that is no share from 0 to 1.")
