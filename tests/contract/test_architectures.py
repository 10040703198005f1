"""One contract for every architecture: an attached plugin is an enlarged embedding matrix, to the bit."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from knowledge_plugin import KnowledgePlugin
from tests.contract.architectures import ARCHITECTURES, GENERATORS, VOCAB, build
from tests.contract.common import PLAIN, TEXTS, assert_same, enlarge, fingerprint, inputs, make_plugin, outputs


@pytest.fixture(params=ARCHITECTURES)
def bare(request) -> PreTrainedModel:
    return build(request.param)


@pytest.fixture
def plugin(bare) -> KnowledgePlugin:
    return make_plugin(bare)


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
    plugin.mapping.train().requires_grad_(True)
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        model(**inputs(model, tokenizer, TEXTS)).logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in plugin.mapping.parameters())
    assert all(p.grad is None for p in bare.parameters())


def test_a_batch_without_mentions_still_trains(bare, plugin, wordpiece):
    bare.requires_grad_(False)
    plugin.mapping.train().requires_grad_(True)
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
