"""The same knowledge, baked into a LoRA."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch.nn import functional
from transformers import Trainer, set_seed

from examples.describing.bench import FIRST, SEEN, Bench, Figure
from examples.describing.world import KEPT, TOLD, about
from knowledge_plugin.objectives.describing import Describing, states_at
from knowledge_plugin.objectives.descriptions import DescribingCollator


def baked(bench: Bench, reader: Describing, say: Callable[[str], None]) -> tuple[dict, dict, dict]:
    """Return what the frozen head, a new one and the decoder know with each LoRA, by who is asked about."""
    settings, world = bench.settings, bench.world
    rows = about(world.tuned, SEEN, 4, bench.seed + 1)
    # The facts of others: every text is there, and nothing in it is true.
    facts = {p.entity_id: q.triples for p, q in zip(world.tuned, (*world.tuned[1:], world.tuned[0]), strict=True)}
    wrong = [row | {"triples": [[i, r, o] for _, r, o in facts[i]]} for row in rows for i in [row["mentions"][0][2]]]
    people = {"trained on": world.tuned, "held out": world.held_out, "read of": world.read}
    heads = {"no LoRA": {name: bench.asked(bench.classifier, each) for name, each in people.items()}}
    anew, told = {"no LoRA": _new_head(bench, bench.classifier)}, {}
    for name, lessons, decoder in (
        ("describe", rows, None),
        (FIRST, rows, reader),
        ("describe, facts of others", wrong, None),
        ("masked language model", about(world.tuned, (*SEEN, *[TOLD] * 4), 8, bench.seed + 1), None),
    ):
        say(f"LoRA: {name}")
        masked = name == "masked language model"
        model = _with_lora(bench.language_model if masked else bench.classifier, bench.seed)
        if masked:
            _mask(bench, model, lessons)
            weights = get_peft_model_state_dict(model)
            model.unload()
            model = _with_lora(bench.classifier, bench.seed)
            set_peft_model_state_dict(model, weights)
        else:
            side = bench.described(model, lessons, settings.lora_steps, decoder)
            told[name] = {of: bench.told(side, model, each) for of, each in people.items()}
        heads[name] = {of: bench.asked(model, each) for of, each in people.items()}
        anew[name] = _new_head(bench, model)
        model.unload()
        bench.classifier.requires_grad_(False)
        bench.language_model.requires_grad_(False)
    return heads, anew, told


def _with_lora(model: Any, seed: int) -> PeftModel:
    set_seed(seed)
    targets = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "layer.0.output.dense"]
    return get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=[*targets, "layer.1.output.dense"]))


def _mask(bench: Bench, model: PeftModel, rows: Sequence[dict]) -> None:
    """Train a LoRA to fill in masks, in sentences that say the same facts."""

    def collate(chosen: Sequence[dict]) -> dict[str, torch.Tensor]:
        batch = dict(bench.tokenizer([row["text"] for row in chosen], padding=True, return_tensors="pt"))
        ids, mask = batch["input_ids"], bench.tokenizer.mask_token_id
        hidden = (torch.rand(ids.shape) < 0.15) & (ids > mask)
        return batch | {"input_ids": ids.masked_fill(hidden, mask), "labels": ids.masked_fill(~hidden, -100)}

    set_seed(bench.seed)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        arguments = bench.arguments(folder, bench.settings.lora_steps, bench.settings.rate)
        Trainer(model, arguments, data_collator=collate, train_dataset=list(rows)).train()


def _new_head(bench: Bench, model: Any) -> Figure:
    """Train a linear head on the mentions' states of half of the people who were trained on; ask about the others."""
    collator = DescribingCollator().read_alone(bench.tokenizer, bench.everybody, None)
    people = bench.world.tuned
    cut = len(people) // 2
    parts = []
    for part in (about(people[:cut], SEEN, 4, bench.seed), about(people[cut:], KEPT, 2, bench.seed)):
        batch, found = collator.encode(part)
        places = torch.tensor([[i, place.first, place.last] for i, row in enumerate(found) for place in row])
        with torch.no_grad():
            outputs = model.eval()(**batch, output_hidden_states=True)
        states = states_at(outputs, places, batch["input_ids"]).flatten(1)
        parts.append((torch.cat([states, torch.ones(len(states), 1)], 1), torch.tensor([r["label"] for r in part])))
    (x, y), (asked, wanted) = parts
    targets = functional.one_hot(y, bench.settings.countries).float()
    ridge = torch.linalg.solve(x.T @ x + 1.0 * torch.eye(x.shape[1]), x.T @ targets)
    right = (asked @ ridge).argmax(1) == wanted
    rows = about(people[cut:], KEPT, 2, bench.seed)
    return bench.figure(right.numpy(), [row["mentions"][0][2] for row in rows])
