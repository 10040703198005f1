"""A large knowledge base made up on this machine, written in chunks so that making it needs little memory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track

CHUNK = 100_000


def make_words(count: int, seed: int = 0) -> list[str]:
    """Return different words of three to nine letters in any order."""
    rng = random.Random(seed)
    words: set[str] = set()
    while len(words) < count:
        words.add("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))))
    return rng.sample(sorted(words), count)


def entity_chunks(rows: int, words: list[str], seed: int = 0) -> Iterator[pa.Table]:
    """Yield tables with id, label, aliases (two for every fifth entity) and popularity; names of one to three words."""
    rng = np.random.default_rng(seed)
    titles = np.array([word.title() for word in words], dtype=object)
    for start in track(range(0, rows, CHUNK), "writing entities", transient=True):
        count = min(CHUNK, rows - start)
        first, second, third = (titles[rng.integers(len(words), size=2 * count)] for _ in range(3))
        names = first + " " + second
        longer = rng.random(2 * count) < 0.3
        names[longer] = names[longer] + " " + third[longer]
        has_more = rng.random(count) < 0.2
        aliases = [[names[count + i], f"{names[i]} {start + i}"] if has_more[i] else [] for i in range(count)]
        yield pa.table(
            {
                "id": pa.array([f"bench:{start + i}" for i in range(count)]),
                "label": pa.array(names[:count], pa.string()),
                "aliases": pa.array(aliases, pa.list_(pa.string())),
                "popularity": pa.array(1e6 / np.arange(start + 1, start + count + 1)),
            }
        )


def write_source(folder: Path, rows: int, dim: int, words: list[str]) -> None:
    """Write entities and vectors as somebody might have them, unless they are there already.

    ``entities.parquet`` and ``vectors.npy`` are ours to build from; ``entity2id.txt`` is what the published code reads.
    """
    entities, vectors = folder / "entities.parquet", folder / "vectors.npy"
    if not vectors.exists():
        folder.mkdir(parents=True, exist_ok=True)
        chunks = entity_chunks(rows, words)
        first = next(chunks)
        with pq.ParquetWriter(entities, first.schema) as writer:
            writer.write_table(first)
            for chunk in chunks:
                writer.write_table(chunk)
        rng = np.random.default_rng(1)
        beside = folder / "vectors.partial.npy"
        out = np.lib.format.open_memmap(beside, "w+", np.float32, (rows, dim))
        for start in range(0, rows, CHUNK):
            out[start : start + CHUNK] = rng.standard_normal((min(CHUNK, rows - start), dim), np.float32)
        out.flush()
        lines = "".join(f"bench:{row}\t{row}\n" for row in range(rows))
        (folder / "entity2id.txt").write_text(f"{rows}\n{lines}")
        beside.rename(vectors)
