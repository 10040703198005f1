"""What all reports have in common: plain values that JSON can hold, in a file that is whole or not there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def finite(value: Any) -> Any:
    """Return plain values for JSON: lists for tuples, and ``None`` for a figure that is no number.

    Example:
        >>> finite({"value": float("nan"), "interval": (0.5, 1.0)})
        {'value': None, 'interval': [0.5, 1.0]}
    """
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_text(path: str | Path, text: str) -> None:
    """Write a text beside a file and put it in its place: what stood there stays whole if that fails."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.partial")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
