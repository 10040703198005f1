"""A batch function over a Parquet file with ``datasets``: several processes of one machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from datasets import Dataset


def run(function: Callable[[pa.Table], pa.Table], source: str, target: str, workers: int, batch_size: int) -> None:
    """Read ``source``, and write it with the new column as Parquet into the folder ``target``."""
    rows = Dataset.from_parquet(source).with_format("arrow")
    done = rows.map(function, batched=True, batch_size=batch_size, num_proc=workers)
    Path(target).mkdir(parents=True, exist_ok=True)
    done.with_format(None).to_parquet(str(Path(target) / "part-0.parquet"))
