"""``python -m benchmarks.gpu``: what an attached plugin costs on a GPU; without one it says so and ends.

A model of the size of BERT-base and a decoder of a billion parameters, built from their configs with random weights, in
bfloat16: a whole forward and greedy generation with the plugin beside the plain model on as many tokens, eager and
compiled; the entity vectors on the GPU against the CPU; a step of map-tuning by masked mentions.
``--device cpu --tiny`` runs the same code at a small size, to see that it runs.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import nn
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

from benchmarks.results import machine, row, save, show
from benchmarks.timing import alternate, median, ratios
from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.injection.compilation import tell_hooks_apart
from knowledge_plugin.injection.embedding_hook import EmbeddingHook
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.injection.virtual_ids import VirtualIds
from knowledge_plugin.methods.map_tuning.training import OBJECTIVES


@dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    entities: int = 1_000_000
    dim: int = 128
    batch: int = 32
    length: int = 128
    new_tokens: int = 64
    prompts: int = 8
    rounds: int = 15
    tiny: bool = False


TINY = Sizes(entities=50, dim=8, batch=2, length=12, new_tokens=3, prompts=2, rounds=1, tiny=True)


def rows(device: torch.device, sizes: Sizes) -> list[dict]:
    """Measure everything on a device."""
    vectors = torch.randn(sizes.entities, sizes.dim)
    kb = KnowledgeBase.from_entities(
        [Entity(f"b:{i}", f"n{i}") for i in range(sizes.entities)], vectors, name="benchmark"
    )
    dtype = torch.bfloat16
    encoder = _encoder(sizes).to(device, dtype).eval().requires_grad_(False)
    lines = [
        *_forwards("1", "encoder", encoder, kb, device, sizes),
        _index("2", encoder, kb, device, sizes),
        _masked_step("3", encoder, kb, device, sizes),
    ]
    del encoder
    decoder = _decoder(sizes).to(device, dtype).eval().requires_grad_(False)
    lines += _forwards("4", "decoder, prefill", decoder, kb, device, sizes)
    return [*lines, _decoding("5", decoder, kb, device, sizes)]


def _encoder(sizes: Sizes) -> nn.Module:
    torch.manual_seed(0)
    small = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return BertForMaskedLM(BertConfig(**small, intermediate_size=64) if sizes.tiny else BertConfig())


def _decoder(sizes: Sizes) -> nn.Module:
    """Return a decoder shaped like the small Llamas of 2024: 1.2 billion parameters."""
    torch.manual_seed(0)
    size = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    if not sizes.tiny:
        size = {"vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16}
        heads = {"num_attention_heads": 32, "num_key_value_heads": 8}
    return LlamaForCausalLM(LlamaConfig(**size, **heads, tie_word_embeddings=True))


def _twin(model: nn.Module, kb: KnowledgeBase, gpu: torch.device | None) -> nn.Module:
    """Return a model of the very same weights, in the same memory, with the plugin attached; without a tokenizer."""
    weights = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    twin = copy.deepcopy(model, memo=dict(weights))
    torch.manual_seed(0)  # of several twins all have the same mapping
    plugin = KnowledgePlugin.for_model(model, kb)
    plugin.mapping.requires_grad_(False).to(next(model.parameters()).device)
    vocab_size = model.config.vocab_size  # type: ignore[union-attr]
    ids = VirtualIds(vocab_size, len(kb))
    EmbeddingHook(PlacedIndex(kb, gpu), plugin.mapping, ids, vocab_size).attach(twin)
    return twin


def _ids(model: nn.Module, kb: KnowledgeBase, device: torch.device, batch: int, length: int) -> tuple:
    """Return ids of words alone, and the same with two mentions a row."""
    vocab_size: int = model.config.vocab_size  # type: ignore[assignment,union-attr]
    generator = torch.Generator().manual_seed(0)
    plain = torch.randint(10, vocab_size, (batch, length), generator=generator)
    mentions = plain.clone()
    mentions[:, [1, length // 2]] = vocab_size + torch.randint(0, len(kb), (batch, 2), generator=generator)
    return plain.to(device), mentions.to(device)


def _timed(work: Callable[[], object], device: torch.device) -> Callable[[], object]:
    def wait() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return wait


def _line(row_id: str, work: str, times: dict[str, list[float]], bound: float | None = None) -> dict:
    found = ratios(times["attached"], times["plain"])
    met = None if bound is None else median(found) <= bound
    budget = "-" if bound is None else f"<= {bound:g}"
    plain, attached = 1e3 * median(times["plain"]), 1e3 * median(times["attached"])
    return row(row_id, work, plain, attached, "ms", median(found), budget, met, found)


def _forwards(
    row_id: str, what: str, model: nn.Module, kb: KnowledgeBase, device: torch.device, sizes: Sizes
) -> list[dict]:
    """A whole forward, eager and compiled: with two mentions a row, beside the plain model on as many tokens."""
    attached = _twin(model, kb, device if device.type == "cuda" else None)
    plain_ids, ids = _ids(model, kb, device, sizes.batch, sizes.length)
    size, lines = f"{what}, {sizes.batch} x {sizes.length}", []
    for letter, how in [("a", "eager"), ("b", "compiled")]:
        one, two = model, attached
        if how == "compiled":
            torch._dynamo.reset()
            tell_hooks_apart()
            one, two = torch.compile(model), torch.compile(attached)  # type: ignore[assignment]
        with torch.inference_mode():
            times = alternate(
                {
                    "plain": _timed(lambda m=one: m(input_ids=plain_ids), device),  # type: ignore[misc]
                    "attached": _timed(lambda m=two: m(input_ids=ids), device),  # type: ignore[misc]
                },
                sizes.rounds,
            )
        lines.append(_line(f"{row_id}{letter}", f"forward of {size}, {how}, against plain", times, 1.02))
    torch._dynamo.reset()
    return lines


def _index(row_id: str, model: nn.Module, kb: KnowledgeBase, device: torch.device, sizes: Sizes) -> dict:
    """The look-up of words, with the entity vectors on the GPU and on the CPU."""
    _, ids = _ids(model, kb, device, sizes.batch, sizes.length)
    on_cpu = _twin(model, kb, None).get_input_embeddings()  # type: ignore[operator]
    on_gpu = _twin(model, kb, device if device.type == "cuda" else None).get_input_embeddings()  # type: ignore[operator]
    with torch.inference_mode():
        assert torch.equal(on_cpu(ids), on_gpu(ids))
        times = alternate(
            {"plain": _timed(lambda: on_cpu(ids), device), "attached": _timed(lambda: on_gpu(ids), device)},
            sizes.rounds,
        )
    return _line(row_id, "look-up of words, vectors on the GPU against the CPU", times)


def _masked_step(row_id: str, model: nn.Module, kb: KnowledgeBase, device: torch.device, sizes: Sizes) -> dict:
    """Forward, backward and optimizer, with logits at masked places alone, and at all places."""
    attached = _twin(model, kb, device if device.type == "cuda" else None)
    loss = OBJECTIVES["mention-mlm"].loss
    assert loss is not None
    hook = next(f.__self__ for f in attached.get_input_embeddings()._forward_hooks.values())  # type: ignore[operator]
    mapping = hook.mapping.requires_grad_(True)
    optimizer = torch.optim.Adam(mapping.parameters(), lr=0.0)
    _, ids = _ids(model, kb, device, sizes.batch, sizes.length)
    labels = torch.full_like(ids, -100)
    labels[:, 2:5] = ids[:, 6:9] % model.config.vocab_size  # type: ignore[union-attr,operator]

    def ours() -> None:
        with loss.scoring(attached, labels):
            _learn(loss(attached(input_ids=ids), labels))

    def everywhere() -> None:
        _learn(loss(attached(input_ids=ids), labels))

    def _learn(value: torch.Tensor) -> None:
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    times = alternate({"plain": _timed(everywhere, device), "attached": _timed(ours, device)}, sizes.rounds)
    mapping.requires_grad_(False)
    return _line(row_id, "mention-mlm step, against logits at every place", times)


def _decoding(row_id: str, model: nn.Module, kb: KnowledgeBase, device: torch.device, sizes: Sizes) -> dict:
    """Greedy generation from a prompt with two mentions."""
    attached = _twin(model, kb, device if device.type == "cuda" else None)
    plain_ids, ids = _ids(model, kb, device, sizes.prompts, sizes.length)
    options = {"max_new_tokens": sizes.new_tokens, "min_new_tokens": sizes.new_tokens, "do_sample": False}

    def generate(model: nn.Module, ids: torch.Tensor) -> Callable[[], object]:
        mask = torch.ones_like(ids)
        return _timed(lambda: model.generate(input_ids=ids, attention_mask=mask, pad_token_id=0, **options), device)  # type: ignore[operator]

    with torch.inference_mode():
        times = alternate({"plain": generate(model, plain_ids), "attached": generate(attached, ids)}, sizes.rounds)
    return _line(row_id, f"{sizes.new_tokens} new tokens for {sizes.prompts} prompts, against plain", times, 1.02)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to see that it runs")
    parser.add_argument("--tiny", action="store_true", help="small sizes")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/gpu.json"))
    wanted = parser.parse_args(arguments)
    device = torch.device(wanted.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("Skipped: there is no GPU here. To see that it runs: python -m benchmarks.gpu --device cpu --tiny")
        return
    found = rows(device, TINY if wanted.tiny else Sizes())
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    Console().print(f"{name}; {machine()}")
    show(found, "With a plugin attached, against the plain model")
    print(f"results: {save(found, wanted.out)}")


if __name__ == "__main__":
    main()
