"""One contract for every architecture: an attached plugin is an enlarged embedding matrix, to the bit."""

from __future__ import annotations

import copy
import hashlib

import pytest
import torch
from torch import nn
from transformers import BatchEncoding, PreTrainedModel

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.injection.embeddings import embedding_modules
from tests import tiny
from tests.contract.architectures import ARCHITECTURES, GENERATORS, VOCAB, build

TEXTS = ["the mayor of New York came to Paris and Paris again", "Berlin", "the river is wide near York /"]
PLAIN = ["the river is wide", "she moved to the old town and bought a house", "yes"]


@pytest.fixture(params=ARCHITECTURES)
def bare(request) -> PreTrainedModel:
    return build(request.param)


@pytest.fixture
def plugin(bare) -> KnowledgePlugin:
    return make_plugin(bare)


def make_plugin(model: PreTrainedModel) -> KnowledgePlugin:
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in plugin.mapping.parameters():  # large enough to be felt in the output
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return plugin


def enlarge(model: PreTrainedModel, plugin: KnowledgePlugin) -> PreTrainedModel:
    """Return a copy with a row for each entity behind the words; heads keep the words alone."""
    enlarged = copy.deepcopy(model)
    modules = embedding_modules(enlarged)
    weight = modules[0].weight
    for module in enlarged.modules():
        if isinstance(module, nn.Linear) and module.weight is weight:
            module.weight = nn.Parameter(weight.detach().clone())
    kb = plugin.knowledge_base
    rows = plugin.word_embeddings([kb.entity_id(row) for row in range(len(kb))])
    matrix = nn.Parameter(torch.cat([weight.detach(), rows.to(weight.dtype)]))
    for module in modules:
        module.weight, module.num_embeddings = matrix, len(matrix)
    return enlarged


def inputs(model: PreTrainedModel, tokenizer, texts: list[str]) -> BatchEncoding:
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    if model.config.is_encoder_decoder:
        batch["decoder_input_ids"] = batch["input_ids"][:, :6]
    return batch


@torch.no_grad()
def outputs(model: PreTrainedModel, batch: BatchEncoding) -> dict[str, torch.Tensor]:
    found = model(**batch, output_hidden_states=True)
    tensors = {"logits": found.logits}
    for name in ("hidden_states", "encoder_hidden_states", "decoder_hidden_states"):
        tensors |= {f"{name}.{i}": state for i, state in enumerate(found.get(name) or ())}
    return tensors


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def fingerprint(model: PreTrainedModel) -> dict[str, object]:
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


def test_attached_equals_a_truly_enlarged_embedding_matrix(bare, plugin, wordpiece):
    enlarged = enlarge(bare, plugin)
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        batch = inputs(model, tokenizer, TEXTS)
        assert int((batch["input_ids"] >= VOCAB).sum()) == 5
        assert_same(outputs(model, batch), outputs(enlarged, batch))


def test_in_bfloat16_too(bare, plugin, wordpiece):
    model = bare.to(torch.bfloat16)
    enlarged = enlarge(model, plugin)
    with plugin.attach(model, wordpiece) as (model, tokenizer):
        batch = inputs(model, tokenizer, TEXTS)
        assert_same(outputs(model, batch), outputs(enlarged, batch))


def test_the_entity_matters(bare, plugin, wordpiece):
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        batch = inputs(model, tokenizer, ["Berlin"])
        other = inputs(model, tokenizer, ["Berlin"])
        other["input_ids"][other["input_ids"] >= VOCAB] += 1
        assert not torch.equal(outputs(model, batch)["logits"], outputs(model, other)["logits"])


def test_text_without_mentions_is_untouched(bare, plugin, wordpiece):
    before = inputs(bare, wordpiece, PLAIN)
    expected = outputs(bare, before)
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        after = inputs(model, tokenizer, PLAIN)
        assert torch.equal(before["input_ids"], after["input_ids"])
        assert_same(outputs(model, after), expected)


def test_detach_gives_the_model_back(bare, plugin, wordpiece):
    batch = inputs(bare, wordpiece, TEXTS)
    expected = outputs(bare, batch)  # first of all: transformers hangs hooks of its own on a model that is run
    before = fingerprint(bare)
    attachment = plugin.attach(bare, wordpiece)
    model, tokenizer = attachment
    assert model is bare
    assert list(bare.state_dict()) == list(before["weights"])
    outputs(model, inputs(model, tokenizer, TEXTS))
    attachment.detach()
    assert fingerprint(bare) == before
    assert_same(outputs(bare, batch), expected)


def test_gradients_reach_the_mapping_and_not_the_frozen_base(bare, plugin, wordpiece):
    bare.requires_grad_(False)
    plugin.mapping.train()
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        model(**inputs(model, tokenizer, TEXTS)).logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in plugin.mapping.parameters())
    assert all(p.grad is None for p in bare.parameters())


def test_a_batch_without_mentions_still_trains(bare, plugin, wordpiece):
    bare.requires_grad_(False)
    plugin.mapping.train()
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        model(**inputs(model, tokenizer, PLAIN)).logits.mean().backward()
    assert all(p.grad is not None and not p.grad.any() for p in plugin.mapping.parameters())


@pytest.mark.parametrize("name", GENERATORS)
def test_greedy_generation_equals_the_enlarged_model(name, wordpiece):
    bare = build(name)
    plugin = make_plugin(bare)
    enlarged = enlarge(bare, plugin)
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        batch = tokenizer(["the museum in Paris"], return_tensors="pt")
        batch.pop("token_type_ids", None)
        assert bool((batch["input_ids"] >= VOCAB).any())
        options = {"max_new_tokens": 8, "do_sample": False}
        assert torch.equal(model.generate(**batch, **options), enlarged.generate(**batch, **options))


def test_labels_that_copy_the_input_ids_never_hold_virtual_ids(wordpiece):
    bare = build("llama")
    plugin = make_plugin(bare)
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        batch = tokenizer(["the museum in Paris opened"], return_tensors="pt")
        batch.pop("token_type_ids", None)
        labels = batch["input_ids"].clone()
        masked = labels.masked_fill(labels >= VOCAB, -100)
        assert torch.equal(model(**batch, labels=labels).loss, model(**batch, labels=masked).loss)
