"""How cost grows with size: what a line through these points should be is a line."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import torch

from benchmarks.models import minilm, with_plugin
from benchmarks.timing import alternate, median
from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase, KnowledgePlugin

Series = dict[str, list[tuple[float, float]]]

ALIASES = (1_000, 10_000, 100_000)
MENTIONS = (0, 1, 2, 4, 8, 16)
BATCHES = (1, 4, 16, 64)


def measure(entities: int = 20_000, rounds: int = 5) -> Series:
    """Return milliseconds against sizes, by what grows.

    Args:
        entities: In the knowledge base whose vectors are looked up.
        rounds: Medians of so many, which take turns.
    """
    return {
        "aliases: ms to link 1,000 words": _linking(rounds),
        "mentions in a sentence: ms to embed 16 x 128": _embedding(entities, rounds, mentions=MENTIONS),
        "sentences in a batch: ms to embed, 2 mentions each": _embedding(entities, rounds, batches=BATCHES),
    }


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
    return [(float(size), 1e3 * median(seconds)) for size, seconds in times.items()]


def plot(series: Series, path: Path) -> Path:
    """Draw each series in a panel of its own."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(series), figsize=(4.2 * len(series), 3.2), constrained_layout=True)
    for axis, (name, points) in zip(axes, series.items(), strict=True):
        what, _, unit = name.partition(": ")
        axis.plot(*zip(*points, strict=True), marker="o")
        if points[0][0] > 0 and points[-1][0] / points[0][0] > 50:
            axis.set_xscale("log")
        axis.set(xlabel=what, ylabel=unit, ylim=(0, None))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
