"""A batch function over Parquet files with Ray Data: the workers of a cluster, or of this machine if there is none.

``pip install 'knowledge-plugin[ray]'``. On a cluster, files, knowledge base and this package must be where every worker
finds them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import ray


def run(function: Callable[[pa.Table], pa.Table], source: str, target: str, workers: int, batch_size: int) -> None:
    """Read ``source``, and write it with the new column as Parquet files into the folder ``target``."""
    if not ray.is_initialized():
        ray.init(num_cpus=workers + 1, include_dashboard=False, log_to_driver=False)  # one more reads and writes
    rows = ray.data.read_parquet(str(Path(source).resolve()), override_num_blocks=workers)
    done = rows.map_batches(
        _Worker, fn_constructor_args=(function,), batch_format="pyarrow", batch_size=batch_size, concurrency=workers
    )
    done.write_parquet(str(Path(target).resolve()))


class _Worker:
    """An actor that keeps its function, and what that has opened, from batch to batch."""

    def __init__(self, function: Callable[[pa.Table], pa.Table]) -> None:
        self.function = function

    def __call__(self, batch: pa.Table) -> pa.Table:
        return self.function(batch)
