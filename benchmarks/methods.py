"""``python -m benchmarks.methods``: what methods that look entries up cost, by layers and by entries.

A whole forward of 16 texts of 128 tokens with the plugin attached, against the plain forward of the very same weights:
an encoder of the size of MiniLM-L6 for kformer and memory, a decoder of that size for all three. Random weights, random
entries of 128 + 128 numbers; budget: memory with 100,000 entries within 10 % of the plain forward of the encoder.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from benchmarks.models import minilm
from benchmarks.results import machine, row, save, show
from benchmarks.timing import alternate, median, ratios
from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.registry import find_method

FOLDER = Path("runs/benchmarks")
BATCH, LENGTH, KEY_DIM = 16, 128, 128
BUDGET = 1.10
# Method, settings, and how many entries; the entries of a layer, then layers and entries more.
ENCODER_CASES = (
    ("kformer", {"layers": [5]}, 1_000),
    ("kformer", {"layers": [3, 4, 5]}, 1_000),
    ("kformer", {"layers": [3, 4, 5]}, 100_000),
    ("memory", {"layers": [5]}, 1_000),
    ("memory", {"layers": [4, 5]}, 1_000),
    ("memory", {"layers": [5]}, 100_000),
)
DECODER_CASES = (
    ("memory", {"layers": [5]}, 1_000),
    ("memory", {"layers": [5]}, 10_000),
    ("kb-attention", {"layers": [0]}, 100),
    ("kb-attention", {"every": 3}, 100),
    ("kb-attention", {"every": 3}, 1_000),
)


def decoder() -> LlamaForCausalLM:
    """Return a decoder of the size of MiniLM-L6, with random weights."""
    torch.manual_seed(0)
    size = {"vocab_size": 30_522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12}
    return LlamaForCausalLM(LlamaConfig(**size, intermediate_size=1024)).eval()


def rows(rounds: int = 15, share: float = 1.0) -> Iterator[dict]:
    """Measure all.

    Args:
        rounds: Of each case.
        share: Of the entries; smaller ones serve the tests.
    """
    for letter, make, cases in (("e", minilm, ENCODER_CASES), ("d", decoder, DECODER_CASES)):
        for method, settings, entries in cases:
            yield _measure(f"m{letter}", make, method, settings, max(100, int(share * entries)), rounds)


def _measure(row_id: str, make, method: str, settings: dict, entries: int, rounds: int) -> dict:
    plain = make()
    attached: PreTrainedModel = make()
    attached.load_state_dict(plain.state_dict(), assign=True)
    kb = KnowledgeBase.from_entities(
        [Entity(f"b:{i}", f"n{i}") for i in range(entries)], torch.randn(entries, 2 * KEY_DIM), name="bench"
    )
    plugin = KnowledgePlugin.for_model(attached, kb, method=method, key_dim=KEY_DIM, **settings)
    _randomise(plugin.mapping)
    plugin.mapping.requires_grad_(False)
    hook = find_method(method).hook(plugin.config, PlacedIndex(kb), plugin.mapping, attached, 0)
    hook.attach(attached)
    ids = torch.randint(1000, 30_000, (BATCH, LENGTH))
    with torch.inference_mode():
        times = alternate({"plain": lambda: plain(ids).logits, "attached": lambda: attached(ids).logits}, rounds)
    found = ratios(times["attached"], times["plain"])
    a, b, ratio = median(times["plain"]), median(times["attached"]), median(found)
    layers = len(plugin.config.injection.layers)  # type: ignore[attr-defined]
    work = f"{method}, {layers} layer{'s'[: layers > 1]}, {entries:,} entries, {type(plain).__name__}"
    has_budget = (method, row_id, entries) == ("memory", "me", 100_000)
    budget = f"<= {BUDGET}" if has_budget else ""
    return row(row_id, work, 1e3 * a, 1e3 * b, "ms", ratio, budget, not has_budget or ratio <= BUDGET, found)


def _randomise(network: nn.Module) -> None:
    for parameter in network.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.02)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    found = list(rows(parser.parse_args().rounds))
    print(machine())
    show(found)
    print(f"results: {save(found, FOLDER / 'methods.json')}")


if __name__ == "__main__":
    main()
