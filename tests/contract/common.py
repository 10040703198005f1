"""What the contract tests share: a plugin that is felt, the model it must equal, and what detaching must give back."""

from __future__ import annotations

import copy
import hashlib
from typing import NamedTuple

import pytest
import torch
from torch import nn
from transformers import BatchEncoding, PreTrainedModel

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.injection.embeddings import embedding_modules, tables_beside
from tests import tiny

TEXTS = ["the mayor of New York came to Paris and Paris again", "Berlin", "the river is wide near York /"]
PLAIN = ["the river is wide", "she moved to the old town and bought a house", "yes"]


class Way(NamedTuple):
    """A way of running a model, as a row of docs/compatibility.md."""

    group: str
    name: str
    limit: str | None


WAYS: list[Way] = []


def way(group: str, name: str, *, limit: str | None = None) -> pytest.MarkDecorator:
    """Mark a test as the evidence for a row of docs/compatibility.md.

    Args:
        group: Part of the table.
        name: The way of running.
        limit: Why it does not work, for a test that shows how it fails.
    """
    WAYS.append(Way(group, name, limit))
    return pytest.mark.way(group, name, limit)


def make_plugin(model: PreTrainedModel, seed: int = 1, strength: float = 0.3, **kwargs) -> KnowledgePlugin:
    """Return a plugin whose mapping is large enough to be felt in the output."""
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base(**kwargs))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in plugin.mapping.parameters():
            parameter.copy_(strength * torch.randn(parameter.shape, generator=generator))
    plugin.mapping.requires_grad_(False)
    return plugin


def enlarge(model: PreTrainedModel, plugin: KnowledgePlugin) -> PreTrainedModel:
    """Return a copy with a row for each entity behind the words; heads keep the words alone."""
    enlarged = copy.deepcopy(model)
    modules, beside = embedding_modules(enlarged), tables_beside(enlarged)
    weight = modules[0].weight
    for module in enlarged.modules():
        if isinstance(module, nn.Linear) and module.weight is weight:
            module.weight = nn.Parameter(weight.detach().clone())
    kb = plugin.knowledge_base
    rows = plugin.word_embeddings([kb.entity_id(row) for row in range(len(kb))])
    matrix = nn.Parameter(torch.cat([weight.detach(), rows.to(weight.dtype)]))
    for module in modules:
        module.weight, module.num_embeddings = matrix, len(matrix)
    for table in beside:  # Gemma 4 looks words up in a second table; an entity is word 0 there
        first = table.weight.detach()[:1].expand(len(kb), -1)
        table.weight = nn.Parameter(torch.cat([table.weight.detach(), first]))
        table.num_embeddings = len(table.weight)
    return enlarged


def inputs(model: PreTrainedModel, tokenizer, texts: list[str]) -> BatchEncoding:
    """Return a padded batch with what the model takes."""
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    if model.config.is_encoder_decoder:
        batch["decoder_input_ids"] = batch["input_ids"][:, :6]
    return batch


@torch.no_grad()
def outputs(model: PreTrainedModel, batch: BatchEncoding) -> dict[str, torch.Tensor]:
    """Return logits and every hidden state."""
    found = model(**batch, output_hidden_states=True)
    tensors = {"logits": found.logits}
    for name in ("hidden_states", "encoder_hidden_states", "decoder_hidden_states"):
        tensors |= {f"{name}.{i}": state for i, state in enumerate(found.get(name) or ())}
    return tensors


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """Compare to the bit."""
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def fingerprint(model: nn.Module) -> dict[str, object]:
    """Return everything about a model that detaching must give back."""
    return {
        "weights": {k: hashlib.sha256(v.numpy().tobytes()).hexdigest() for k, v in model.state_dict().items()},
        "requires_grad": [(name, p.requires_grad) for name, p in model.named_parameters()],
        "attributes": [sorted(module.__dict__) for module in model.modules()],
        "hooks": [
            {name: list(value) for name, value in vars(module).items() if "hooks" in name and isinstance(value, dict)}
            for module in model.modules()
        ],
        "training": [module.training for module in model.modules()],
        "config": model.config.to_json_string(),
    }
