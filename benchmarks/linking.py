"""How fast text is linked against a small knowledge base (budget 4; ``benchmarks.scale`` has the large one)."""

from __future__ import annotations

import random

import torch

from benchmarks.artifact import make_words
from benchmarks.results import row
from benchmarks.timing import alternate, median
from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase

ALIASES, BUDGET = 20_000, 250_000


def rows() -> list[dict]:
    """Count words linked per second, in sentences of forty words with a name in each."""
    rng = random.Random(0)
    words = make_words(60_000)
    names = [" ".join(rng.sample(words, rng.randint(1, 3))).title() for _ in range(ALIASES)]
    entities = [Entity(f"b:{i}", name) for i, name in enumerate(names)]
    linker = DictionaryLinker(KnowledgeBase.from_entities(entities, torch.zeros(ALIASES, 1), name="bench"))
    texts = [" ".join([*rng.choices(words, k=20), rng.choice(names), *rng.choices(words, k=20)]) for _ in range(500)]
    count = sum(len(text.split()) for text in texts)
    speeds = [count / seconds for seconds in alternate({"ours": lambda: linker(texts)})["ours"]]
    work, met = f"words linked against {ALIASES:,} aliases", median(speeds) >= BUDGET
    return [row("4", work, None, median(speeds), "words/s", None, f">= {BUDGET:,}", met, speeds)]
