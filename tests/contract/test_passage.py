"""The contract of passages: several virtual tokens for an entity are as many rows of an enlarged embedding matrix."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.injection.embeddings import embedding_modules, tables_beside
from tests import tiny
from tests.contract.architectures import ARCHITECTURES, GENERATORS, VOCAB, build
from tests.contract.common import PLAIN, TEXTS, assert_same, fingerprint, inputs, outputs, way

NAMES = [
    *["bert-classification", "bert-masked-lm", "electra", "modernbert", "gpt2", "llama", "gemma3", "gemma4"],
    *["t5", "bart-scaled", "marian-scaled", "opt-projected", "mamba"],
]


def passage_plugin(model, tokens, strength=0.3, **settings) -> KnowledgePlugin:
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base(), method="passage", tokens=tokens, **settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in plugin.mapping.parameters():
            parameter.copy_(strength * torch.randn(parameter.shape, generator=generator))
    plugin.mapping.requires_grad_(False)
    return plugin


def enlarged(model, plugin):
    """Return a copy with ``tokens`` rows for each entity behind the words; heads keep the words alone."""
    twin = copy.deepcopy(model)
    modules, beside = embedding_modules(twin), tables_beside(twin)
    weight = modules[0].weight
    for module in twin.modules():
        if isinstance(module, nn.Linear) and module.weight is weight:
            module.weight = nn.Parameter(weight.detach().clone())
    kb = plugin.knowledge_base
    with torch.no_grad():
        rows = plugin.mapping(kb.vectors(range(len(kb)))).view(-1, weight.shape[1])
    matrix = nn.Parameter(torch.cat([weight.detach(), rows.to(weight.dtype)]))
    for module in modules:
        module.weight, module.num_embeddings = matrix, len(matrix)
    for table in beside:
        first = table.weight.detach()[:1].expand(len(rows), -1)
        table.weight = nn.Parameter(torch.cat([table.weight.detach(), first]))
        table.num_embeddings = len(table.weight)
    return twin


@pytest.fixture(params=NAMES)
def bare(request):
    assert request.param in ARCHITECTURES
    return build(request.param)


@pytest.fixture(params=[1, 3])
def tokens(request):
    return request.param


@way("methods", "passage: one token or several for an entry")
def test_attached_equals_a_truly_enlarged_embedding_matrix(bare, tokens, wordpiece):
    plugin = passage_plugin(bare, tokens)
    expected = outputs(bare, inputs(bare, wordpiece, PLAIN))
    twin, before = enlarged(bare, plugin), fingerprint(bare)
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        batch = inputs(model, tokenizer, TEXTS)
        assert int((batch["input_ids"] >= VOCAB).sum()) == 5 * tokens
        assert_same(outputs(model, batch), outputs(twin, batch))
        assert_same(outputs(model, inputs(model, tokenizer, PLAIN)), expected)
    assert fingerprint(bare) == before


def test_gradients_reach_the_bridge_and_not_the_frozen_base(bare, tokens, wordpiece):
    bare.requires_grad_(False)
    plugin = passage_plugin(bare, tokens)
    plugin.mapping.train().requires_grad_(True)
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        model(**inputs(model, tokenizer, TEXTS)).logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in plugin.mapping.parameters())
    assert all(p.grad is None for p in bare.parameters())


@pytest.mark.parametrize("name", [name for name in NAMES if name in GENERATORS])
def test_greedy_generation_equals_the_enlarged_model(name, tokens, wordpiece):
    bare = build(name)
    plugin = passage_plugin(bare, tokens)
    twin = enlarged(bare, plugin)
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        batch = tokenizer(["the museum in Paris"], return_tensors="pt")
        batch.pop("token_type_ids", None)
        options = {"max_new_tokens": 8, "do_sample": False}
        assert torch.equal(model.generate(**batch, **options), twin.generate(**batch, **options))


@way("methods", "passage: several tokens, compiled as one whole graph")
def test_compiled_it_is_the_same(wordpiece):
    bare = build("llama")
    plugin = passage_plugin(bare, 3)
    with plugin.attach(bare, wordpiece) as (model, tokenizer), torch.no_grad():
        batch = inputs(model, tokenizer, TEXTS)
        expected = model(**batch).logits
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(**batch).logits, expected)


@pytest.mark.parametrize("form", ["concat", "replace"])
def test_tokens_go_in_together_and_come_out_together(tokenizer, tokens, form):
    bare = build("bert-masked-lm")
    with passage_plugin(bare, tokens).attach(bare, tokenizer, form=form) as attachment:
        source, kb = attachment.source, attachment.source.knowledge_base
        ids = attachment.tokenizer("she came to Berlin and moved", add_special_tokens=False)["input_ids"]
        first = source.ids.of_row(kb.row("geo:berlin"))
        start = ids.index(first)
        assert ids[start : start + tokens] == list(range(first, first + tokens))
        assert {source.entity_id(i) for i in ids[start : start + tokens]} == {"geo:berlin"}
        assert attachment.tokenizer.convert_tokens_to_ids(attachment.tokenizer.convert_ids_to_tokens(ids)) == ids
        assert attachment.mentions_linked == 1
        plain = tokenizer("she came to Berlin and moved", add_special_tokens=False)["input_ids"]
        if form == "concat":
            assert attachment.tokenizer.decode(ids) == tokenizer.decode(plain)
            assert [i for i in ids if i not in source.ids] == plain
        mask = attachment.tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)
        assert all(mask[start : start + tokens])


@pytest.mark.parametrize("form", ["concat", "replace"])
@pytest.mark.parametrize("length", range(3, 14))
@pytest.mark.parametrize("side", ["left", "right"])
def test_truncation_leaves_no_part_of_an_entity(form, length, side, wordpiece):
    bare = build("bert-masked-lm")
    with passage_plugin(bare, 3).attach(bare, wordpiece, form=form) as attachment:
        tokenizer, source = attachment.tokenizer, attachment.source
        tokenizer.truncation_side = side
        text = "the mayor of Berlin came to New York and Berlin"
        ids = tokenizer(text, truncation=True, max_length=length)["input_ids"]
        assert len(ids) <= length
        virtual = [i for i in ids if i in source.ids]
        assert len(virtual) % 3 == 0
        assert all(source.ids.is_first(i) for i in virtual[::3])


def test_it_saves_and_loads(wordpiece, tmp_path):
    bare = build("llama")
    plugin = passage_plugin(bare, 2)
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        batch = inputs(model, tokenizer, TEXTS)
        expected = outputs(model, batch)
    plugin.save_pretrained(tmp_path / "plugin")
    loaded = KnowledgePlugin.from_pretrained(tmp_path / "plugin")
    assert loaded.config.injection == plugin.config.injection
    with loaded.attach(bare, wordpiece):
        assert_same(outputs(bare, batch), expected)


def test_beside_map_tuning_each_keeps_its_ids(wordpiece):
    bare = build("llama")
    one, three = KnowledgePlugin.for_model(bare, tiny.knowledge_base()), passage_plugin(bare, 3)
    first, second = three.attach(bare, wordpiece), one.attach(bare, wordpiece)
    assert second.source.ids.start >= first.source.ids.stop
    second.detach()
    first.detach()
