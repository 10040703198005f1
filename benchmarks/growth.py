"""How cost grows with size: what a line through these points should be is a line."""

from __future__ import annotations

import random
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from benchmarks.models import minilm, with_plugin
from benchmarks.timing import alternate, median
from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase, KnowledgePlugin

Series = dict[str, list[tuple[float, float]]]

ROWS = (1_000, 10_000, 100_000)
ALIASES = (1_000, 10_000, 100_000)
MENTIONS = (0, 1, 2, 4, 8, 16)
BATCHES = (1, 4, 16, 64)


def measure(entities: int = 20_000, rounds: int = 5) -> Series:
    """Return milliseconds against sizes, by what grows.

    Args:
        entities: In the knowledge base whose vectors are looked up.
        rounds: Medians of so many, which take turns.
    """
    built, opened = _knowledge_bases(rounds)
    return {
        "entities: ms to make and save a knowledge base, 128 wide": built,
        "entities: ms to open it, and to look one up": opened,
        "aliases: ms to link 1,000 words": _linking(rounds),
        "mentions in a sentence: ms to embed 16 x 128": _embedding(entities, rounds, mentions=MENTIONS),
        "sentences in a batch: ms to embed, 2 mentions each": _embedding(entities, rounds, batches=BATCHES),
    }


def _knowledge_bases(rounds: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return what it takes to make and to open knowledge bases; the former should grow as a line, the latter not."""
    with tempfile.TemporaryDirectory(prefix="knowledge-plugin-benchmark-") as name:
        folder = Path(name)
        make, look_up = {}, {}
        for count in ROWS:
            table = pa.table({"id": [f"b:{i}" for i in range(count)], "label": [f"n{i}" for i in range(count)]})
            vectors = np.zeros((count, 128), np.float32)
            make[str(count)] = partial(_make, table, vectors, folder / str(count))
            look_up[str(count)] = partial(_look_up, folder / str(count), f"b:{count // 2}")
        built = alternate(make, min(rounds, 3))
        opened = alternate(look_up, rounds)
    return _points(built), _points(opened)


def _make(table: pa.Table, vectors: np.ndarray, folder: Path) -> None:
    KnowledgeBase.from_table(table, vectors, name="t").save_pretrained(folder)


def _look_up(folder: Path, entity_id: str) -> None:
    KnowledgeBase.from_pretrained(folder).row(entity_id)


def _points(times: dict[str, list[float]]) -> list[tuple[float, float]]:
    return [(float(size), 1e3 * median(seconds)) for size, seconds in times.items()]


def _linking(rounds: int) -> list[tuple[float, float]]:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(50_000)]
    texts = [" ".join(rng.choices(words, k=40)) for _ in range(500)]
    ways = {}
    for count in ALIASES:
        names = [" ".join(rng.choices(words, k=rng.randint(1, 3))) for _ in range(count)]
        kb = KnowledgeBase.from_entities(
            [Entity(f"b:{i}", name) for i, name in enumerate(names)], torch.zeros(count, 1), name="t"
        )
        ways[str(count)] = partial(DictionaryLinker(kb), texts)
    times = alternate(ways, rounds)
    return [(float(count), 1e3 * median(seconds) / 20) for count, seconds in times.items()]


def _embedding(
    entities: int, rounds: int, mentions: tuple[int, ...] = (2,), batches: tuple[int, ...] = (16,)
) -> list[tuple[float, float]]:
    model, length = minilm(), 128
    kb = KnowledgeBase.from_entities(
        [Entity(f"b:{i}", f"n{i}") for i in range(entities)], torch.randn(entities, 128), name="t"
    )
    plugin = KnowledgePlugin.for_model(model, kb)
    plugin.mapping.requires_grad_(False)
    attached = with_plugin(model, plugin)
    ways = {}
    for batch in batches:
        for count in mentions:
            ids = torch.randint(1000, 30_000, (batch, length))
            ids[:, 1 : 1 + count] = model.config.vocab_size + torch.randint(0, entities, (batch, count))
            size = count if len(mentions) > 1 else batch
            ways[str(size)] = partial(attached.get_input_embeddings(), ids)
    with torch.inference_mode():
        times = alternate(ways, rounds)
    return _points(times)


def plot(series: Series, path: Path) -> Path:
    """Draw each series in a panel of its own."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(3, len(series))
    lines = -(-len(series) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(4.4 * columns, 3.3 * lines), constrained_layout=True, squeeze=False
    )
    for axis in axes.flat[len(series) :]:
        axis.axis("off")
    for axis, (name, points) in zip(axes.flat, series.items(), strict=False):
        what, _, work = name.partition(": ms ")
        sizes, costs = zip(*points, strict=True)
        axis.plot(sizes, costs, marker="o")
        axis.set(xlabel=what, ylabel="milliseconds", title=work)
        if sizes[0] > 0 and sizes[-1] / sizes[0] > 50:
            axis.set_xscale("log")
        if axis.get_xscale() == "log" and max(costs) > 10 * min(costs):
            axis.set_yscale("log")  # where a line through the origin is a line too
        else:
            axis.set_ylim(0, None)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
