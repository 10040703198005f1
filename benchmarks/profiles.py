"""``python -m benchmarks.profiles``: where the time goes on the three hot paths.

Linking and tokenizing a batch, looking up its words with the embedding hook, and a step of map-tuning by masked
mentions; for each the functions that take most of it themselves, from the standard library's profiler.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import random
from collections.abc import Callable

import torch
from rich.console import Console
from transformers import AutoTokenizer, BertForMaskedLM

from benchmarks.models import minilm
from benchmarks.training import step_of
from examples.geography.checkpoint import model_folder
from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin

ENTITIES, BATCH, CALLS, LINES = 20_000, 64, 20, 12


def measure() -> dict[str, str]:
    """Return a table of the standard library's profiler for each path."""
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    rng = random.Random(0)
    words = sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2)
    names = [" ".join(rng.sample(words, 2)) for _ in range(ENTITIES)]
    kb = KnowledgeBase.from_entities(
        [Entity(f"b:{i}", name) for i, name in enumerate(names)], torch.randn(ENTITIES, 128), name="bench"
    )
    texts = [" ".join([*rng.choices(words, k=12), rng.choice(names), *rng.choices(words, k=12)]) for _ in range(BATCH)]
    model = BertForMaskedLM(minilm().config).eval().requires_grad_(False)
    plugin = KnowledgePlugin.for_model(model, kb)
    with plugin.attach(model, tokenizer) as attachment:
        batch = attachment.tokenizer(texts, padding=True, return_tensors="pt")
        embedding = model.get_input_embeddings()
        with torch.inference_mode():
            found = {
                "link and tokenize": _profile(lambda: attachment.tokenizer(texts, padding=True), CALLS),
                "look up words and entities": _profile(lambda: embedding(batch["input_ids"]), 10 * CALLS),
            }
        step = step_of(attachment, "mention-mlm", [{"text": text} for text in texts])
        found["a step of map-tuning by masked mentions"] = _profile(step, max(1, CALLS // 10))
    return found


def _profile(work: Callable[[], object], calls: int) -> str:
    work()
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(calls):
        work()
    profiler.disable()
    out = io.StringIO()
    pstats.Stats(profiler, stream=out).strip_dirs().sort_stats("tottime").print_stats(LINES)
    lines = out.getvalue().splitlines()
    start = next(i for i, line in enumerate(lines) if line.lstrip().startswith("ncalls"))
    return "\n".join([f"{calls} calls", *lines[start:]]).rstrip()


if __name__ == "__main__":
    console = Console(width=120)
    for path, table in measure().items():
        console.rule(path, align="left")
        console.print(table, highlight=False, markup=False)
