"""torch.compile and torch.export: whole graphs, and the same output."""

from __future__ import annotations

import copy

import pytest
import torch

from knowledge_plugin import KnowledgePlugin
from tests import tiny
from tests.contract.architectures import VOCAB, build
from tests.contract.common import PLAIN, TEXTS, inputs, make_plugin, way

SOME = ("bert-classification", "llama", "gemma3", "bart-scaled")


@pytest.fixture(autouse=True)
def _nothing_compiled():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture(params=SOME)
def attachment(request, wordpiece):
    model = build(request.param)
    model.config.use_cache = False
    with make_plugin(model).attach(model, wordpiece) as attachment:
        yield attachment


@way("compile", "torch.compile, one whole graph (fullgraph=True)")
@pytest.mark.parametrize("texts", [TEXTS, PLAIN])
def test_fullgraph(attachment, texts):
    model, tokenizer = attachment
    batch = inputs(model, tokenizer, texts)
    with torch.no_grad():
        expected = model(**batch).logits
        assert torch.equal(torch.compile(model, fullgraph=True, backend="aot_eager")(**batch).logits, expected)


@way("compile", "torch.compile, inductor (close, not to the bit: it fuses)")
def test_inductor(wordpiece):
    model = build("bert-classification")
    with make_plugin(model).attach(model, wordpiece) as (model, tokenizer):
        batch = inputs(model, tokenizer, TEXTS)
        with torch.no_grad():
            expected = model(**batch).logits
            assert torch.allclose(torch.compile(model, fullgraph=True)(**batch).logits, expected, atol=1e-6)


@way("compile", "torch.compile(dynamic=True), batches of many shapes")
def test_other_shapes(wordpiece):
    model = build("llama")
    model.config.use_cache = False
    with make_plugin(model).attach(model, wordpiece) as (model, tokenizer), torch.no_grad():
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=True)
        for texts in (TEXTS, TEXTS[:2], PLAIN, TEXTS[:1]):
            batch = inputs(model, tokenizer, texts)
            assert torch.equal(compiled(**batch).logits, model(**batch).logits)


@way("compile", "map-tuning through a compiled model")
@pytest.mark.parametrize("mode", [True, False])
def test_the_mapping_learns_through_a_compiled_model(mode, wordpiece):
    model = build("llama")
    model.config.use_cache = False
    gradients = []
    for compiled in (False, True):
        plugin = make_plugin(model)
        plugin.mapping.train(mode).requires_grad_(True)
        with plugin.attach(model, wordpiece) as (model, tokenizer):
            run = torch.compile(model, fullgraph=True, backend="aot_eager") if compiled else model
            run(**inputs(model, tokenizer, TEXTS)).logits.square().mean().backward()
        gradients.append([p.grad for p in plugin.mapping.parameters()])
    for eager, compiled in zip(*gradients, strict=True):
        assert torch.allclose(eager, compiled, rtol=1e-4, atol=1e-8)


@way("compile", "torch.export (the vectors and the mapping become part of the program)")
@pytest.mark.parametrize("name", ["bert-classification", "llama", "gemma3"])
def test_export(name, wordpiece):
    model = build(name)
    model.config.use_cache = False
    attachment = make_plugin(model).attach(model, wordpiece)
    batch = dict(inputs(model, attachment.tokenizer, TEXTS))
    with torch.no_grad():
        expected = model(**batch).logits
        program = torch.export.export(model, (), batch, strict=False)
        attachment.detach()
        assert torch.equal(program.module()(**batch).logits, expected)


@way("compile", "a knowledge base of several shards")
def test_shards(wordpiece, tmp_path, monkeypatch):
    monkeypatch.setattr("knowledge_plugin.knowledge_base.embedding_index.MAX_SHARD_BYTES", 70)
    model = build("bert-classification")
    make_plugin(model).save_pretrained(tmp_path)
    plugin = KnowledgePlugin.from_pretrained(tmp_path)
    assert len(plugin.knowledge_base.index._shards) > 1
    with plugin.attach(model, wordpiece) as (model, tokenizer):
        batch = dict(inputs(model, tokenizer, TEXTS))
        with torch.no_grad():
            expected = model(**batch).logits
            program = torch.export.export(model, (), batch, strict=False)
            assert torch.equal(program.module()(**batch).logits, expected)


@way("compile", "attaching to a model that was compiled and has run (warns, and compiles again)")
def test_a_model_that_was_compiled_before(wordpiece):
    model = build("bert-classification")
    batch = inputs(model, wordpiece, TEXTS)
    compiled = torch.compile(model, backend="aot_eager")
    with torch.no_grad():
        before = compiled(**batch).logits
        with pytest.warns(UserWarning, match="Attach before you compile"):
            attachment = make_plugin(model).attach(compiled, wordpiece)
        linked = inputs(model, attachment.tokenizer, TEXTS)
        assert torch.equal(compiled(**linked).logits, model(**linked).logits)
        attachment.detach()
        assert torch.equal(compiled(**batch).logits, before)


@way("compile", "attaching to a model that a compiled function calls (warns, and compiles again)")
def test_a_function_that_was_compiled_before(wordpiece):
    model = build("llama")
    batch = inputs(model, wordpiece, TEXTS[:1])
    run = torch.compile(lambda ids: model(input_ids=ids, use_cache=False).logits, backend="aot_eager")
    with torch.no_grad():
        before = run(batch["input_ids"])
        with pytest.warns(UserWarning, match="Attach before you compile"):
            attachment = make_plugin(model).attach(model, wordpiece)
        linked = inputs(model, attachment.tokenizer, TEXTS[:1])["input_ids"]
        assert torch.equal(run(linked), model(input_ids=linked, use_cache=False).logits)
        attachment.detach()
        assert torch.equal(run(batch["input_ids"]), before)
        with pytest.raises((IndexError, RuntimeError)):  # and does not ask a plugin that is gone
            run(linked)


def test_a_copied_model_compiles_too(wordpiece):
    model = build("bert-classification")
    with make_plugin(model).attach(model, wordpiece) as (model, tokenizer), torch.no_grad():
        batch = inputs(model, tokenizer, TEXTS)
        compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(**batch).logits, model(**batch).logits)


def test_the_knowledge_base_may_grow_under_a_compiled_model(wordpiece):
    model = build("bert-classification")
    plugin = make_plugin(model)
    with plugin.attach(model, wordpiece) as (model, tokenizer), torch.no_grad():
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        compiled(**inputs(model, tokenizer, TEXTS))
        plugin.knowledge_base.upsert([tiny.Entity("geo:vienna", "Vienna")], torch.ones(1, 8))
        batch = inputs(model, tokenizer, ["a train to Vienna"])
        assert VOCAB + 5 in batch["input_ids"]
        assert torch.equal(compiled(**batch).logits, model(**batch).logits)
