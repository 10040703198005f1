"""``python -m benchmarks``: what attaching costs, how fast text is linked, how much a large knowledge base takes.

Minutes; with ``--full`` rows 1, 4 and 5 at five million entities, some minutes more. The published way is written again
from its description: a Python list with an array per entity, and one ``torch.tensor`` for each token of the batch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
from pathlib import Path

import numpy as np
import torch
import transformers
from rich.console import Console
from rich.table import Table
from transformers import BertForSequenceClassification

from benchmarks import growth, scale
from benchmarks.models import minilm, with_plugin
from benchmarks.timing import alternate, median
from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase, KnowledgePlugin

ENTITIES, DIM, BATCH, LENGTH = 20_000, 128, 16, 128


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="rows 1, 4 and 5 at five million entities")
    arguments = parser.parse_args()
    model = minilm()
    rng = random.Random(0)
    words = sorted({"".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(60_000)})
    rng.shuffle(words)
    names = [" ".join(rng.sample(words, rng.randint(1, 3))).title() for _ in range(ENTITIES)]
    vectors = torch.randn(ENTITIES, DIM)
    kb = KnowledgeBase.from_entities([Entity(f"b:{i}", name) for i, name in enumerate(names)], vectors, name="bench")
    plugin = KnowledgePlugin.for_model(model, kb)
    plugin.mapping.requires_grad_(False)
    rows = [embedding_row(model, plugin, vectors), *forward_rows(model, plugin), linking_row(kb, words, names, rng)]
    rows += scale.rows(5_000_000 if arguments.full else 200_000)
    rows.sort(key=lambda found: found["id"])
    print(machine())
    show(rows)
    folder = Path("runs/benchmarks")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(f"results: {folder / 'results.json'}; growth: {growth.plot(growth.measure(), folder / 'growth.png')}")


def machine() -> str:
    """Describe the machine, without its name."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0] if models else cpu
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{cpu}, {cores}; torch {torch.__version__}, transformers {transformers.__version__}"


def row(
    work_id: str,
    work: str,
    published: float | None,
    ours: float,
    unit: str,
    ratio: float | None,
    budget: str,
    met: bool,
) -> dict:
    """Return one line of the results."""
    return {
        "id": work_id, "work": work, "published": published, "ours": ours,
        "unit": unit, "ratio": ratio, "budget": budget, "met": met,
    }  # fmt: skip


def embedding_row(model: BertForSequenceClassification, plugin: KnowledgePlugin, vectors: torch.Tensor) -> dict:
    """Budget 2: the embedding of a batch with two mentions a sentence."""
    vocab_size = model.config.vocab_size
    ids = torch.randint(1000, 30_000, (BATCH, LENGTH))
    ids[:, [10, 60]] = vocab_size + torch.randint(0, ENTITIES, (BATCH, 2))
    embedding = model.get_input_embeddings()
    attached = with_plugin(model, plugin)
    listed = [np.array(vector) for vector in vectors]

    def ours() -> torch.Tensor:
        return attached.get_input_embeddings()(ids)

    def published() -> torch.Tensor:
        sentences = []
        for sentence in ids.tolist():
            tokens = []
            for token in sentence:
                if token >= vocab_size:
                    tokens.append(plugin.mapping(torch.tensor(listed[token - vocab_size])))
                else:
                    tokens.append(embedding(torch.tensor(token)))
            sentences.append(torch.stack(tokens))
        return torch.stack(sentences)

    with torch.inference_mode():
        assert torch.allclose(ours(), published(), atol=1e-5)
        times = alternate({"ours": ours, "published": published})
    a, b = median(times["published"]), median(times["ours"])
    return row(
        "2a",
        f"embedding of {BATCH} x {LENGTH}, 2 mentions each",
        1e3 * a,
        1e3 * b,
        "ms",
        b / a,
        "<= 1/20",
        b / a <= 0.05,
    )


def forward_rows(model: BertForSequenceClassification, plugin: KnowledgePlugin) -> list[dict]:
    """Budgets 2 and 6: a whole forward, with mentions and without, beside the plain model on as many tokens."""
    vocab_size = model.config.vocab_size
    plain_ids = torch.randint(1000, 30_000, (BATCH, LENGTH))
    mention_ids = plain_ids.clone()
    mention_ids[:, [10, 60]] = vocab_size + torch.randint(0, ENTITIES, (BATCH, 2))
    attached = with_plugin(model, plugin)

    with torch.inference_mode():
        times = alternate(
            {
                "plain": lambda: model(plain_ids).logits,
                "no mention": lambda: attached(plain_ids).logits,
                "mentions": lambda: attached(mention_ids).logits,
            },
            rounds=60,
        )
    plain, silent, mentions = (median(times[name]) for name in ("plain", "no mention", "mentions"))
    # Of neighbours in time, so that what slows the machine for a while counts for nothing.
    silent_ratio = median([b / a for a, b in zip(times["plain"], times["no mention"], strict=True)])
    mentions_ratio = median([b / a for a, b in zip(times["plain"], times["mentions"], strict=True)])
    return [
        row("2b", "whole forward, 2 mentions each, against plain", 1e3 * plain, 1e3 * mentions, "ms", mentions_ratio,
            "<= 1.02", mentions_ratio <= 1.02),
        row("6", "whole forward, no mention, attached against plain", 1e3 * plain, 1e3 * silent, "ms", silent_ratio,
            "<= 1.01", silent_ratio <= 1.01),
    ]  # fmt: skip


def linking_row(kb: KnowledgeBase, words: list[str], names: list[str], rng: random.Random) -> dict:
    """Budget 4, small: words linked per second on one core."""
    texts = [" ".join([*rng.choices(words, k=20), rng.choice(names), *rng.choices(words, k=20)]) for _ in range(500)]
    count = sum(len(text.split()) for text in texts)
    linker = DictionaryLinker(kb)
    seconds = median(alternate({"ours": lambda: linker(texts)})["ours"])
    speed = count / seconds
    return row(
        "4",
        f"words linked against {ENTITIES} aliases",
        None,
        speed,
        "words/s",
        None,
        ">= 250,000",
        speed >= 250_000,
    )


def show(rows: list[dict]) -> None:
    """Print the results as a table."""
    table = Table(title="Benchmarks", title_justify="left")
    for name in ("id", "work", "published", "ours", "unit", "ratio", "budget", "met"):
        table.add_column(name, justify="left" if name in ("id", "work", "unit", "budget", "met") else "right")
    for r in rows:
        published = "-" if r["published"] is None else f"{r['published']:,.2f}"
        ratio = "-" if r["ratio"] is None else f"{r['ratio']:.4f}"
        table.add_row(
            r["id"],
            r["work"],
            published,
            f"{r['ours']:,.2f}",
            r["unit"],
            ratio,
            r["budget"],
            {True: "yes", False: "no", None: "-"}[r["met"]],
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
