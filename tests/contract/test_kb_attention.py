"""The contract of knowledge in attention, over every decoder whose attention asks transformers' interface."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import AttachmentError, IncompatibleModelError, MappingError
from knowledge_plugin.injection.hook import find_hooks
from tests.contract.architectures import GENERATORS, build
from tests.contract.common import TEXTS, assert_same, fingerprint, inputs, make_plugin, outputs, way
from tests.contract.test_layer_methods import layer_plugin

DECODERS = [name for name in GENERATORS if name not in ("mamba", "minicpm3")]
CACHED = [name for name in DECODERS if not build(name).config.is_encoder_decoder]


def plugin_for(model, **settings) -> KnowledgePlugin:
    return layer_plugin(model, "kb-attention", **{"every": 1, **settings})


@pytest.fixture(params=DECODERS)
def bare(request):
    return build(request.param)


@way("methods", "kb-attention: empty, switched off or detached, it is the base model to the bit")
def test_it_is_felt_and_goes_without_a_trace(bare, wordpiece):
    batch = inputs(bare, wordpiece, TEXTS)
    expected = outputs(bare, batch)
    before = fingerprint(bare)
    attachment = plugin_for(bare).attach(bare, wordpiece)
    assert not torch.equal(outputs(bare, batch)["logits"], expected["logits"])
    with attachment.disabled():
        assert_same(outputs(bare, batch), expected)
    with find_hooks(bare)[0].showing(torch.tensor([], dtype=torch.int64)):
        assert_same(outputs(bare, batch), expected)
    attachment.detach()
    assert fingerprint(bare) == before
    assert_same(outputs(bare, batch), expected)


@way("methods", "kb-attention: entries that nobody looks at leave the model's own attention")
def test_the_text_is_attended_to_as_ever(bare, wordpiece):
    """With entries out of reach, what is left is our attention over the text: the model's, but for rounding."""
    batch = inputs(bare, wordpiece, TEXTS)
    expected = outputs(bare, batch)
    plugin = plugin_for(bare, scale=1e-9)
    with torch.no_grad():
        for layer in plugin.mapping.query_layers:
            layer.weight.zero_()
    with plugin.attach(bare, wordpiece):
        found = outputs(bare, batch)
    keep = batch.get("decoder_attention_mask", batch["attention_mask"][:, : found["logits"].shape[1]]).bool()
    torch.testing.assert_close(found["logits"][keep], expected["logits"][keep], atol=1e-4, rtol=1e-3)


def test_gradients_reach_the_network_and_not_the_frozen_base(bare, wordpiece):
    bare.requires_grad_(False)
    plugin = plugin_for(bare)
    plugin.mapping.train().requires_grad_(True)
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        hook = find_hooks(model)[0]
        with hook.showing(torch.arange(5)), hook.logging() as forwards:
            loss = model(**inputs(model, tokenizer, TEXTS)).logits.square().mean()
        gold = torch.ones(len(TEXTS), forwards[0].scores[0].shape[1], dtype=torch.int64)
        (loss + hook.lookup_loss(forwards[0], gold)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in plugin.mapping.parameters())
    assert all(p.grad is None for p in bare.parameters())


@way("methods", "kb-attention: no token sees what follows, and a cache changes nothing")
@pytest.mark.parametrize("name", CACHED)
def test_no_token_sees_what_follows(name, wordpiece):
    bare = build(name)
    with plugin_for(bare).attach(bare, wordpiece) as (model, tokenizer):
        batch = tokenizer(["the museum in Paris and the old town"], return_tensors="pt")
        batch.pop("token_type_ids", None)
        whole = outputs(model, batch)["logits"]
        with torch.no_grad():
            first = model(input_ids=batch["input_ids"][:, :5]).logits
        torch.testing.assert_close(whole[:, :5], first, atol=1e-5, rtol=1e-4)
        options = {"max_new_tokens": 6, "do_sample": False}
        with_cache, without = (model.generate(**batch, **options, use_cache=cache) for cache in (True, False))
        assert torch.equal(with_cache, without)


def test_it_is_one_softmax_over_text_and_entries(wordpiece):
    """KBLaM, section 4, worked out by hand for one layer."""
    bare = build("llama")
    plugin = plugin_for(bare, layers=[0], scale=7.0)
    batch = inputs(bare, wordpiece, ["the museum in Paris"])
    seen = {}
    attention = bare.model.layers[0].self_attn
    attention.register_forward_pre_hook(lambda m, a, k: seen.update(k), with_kwargs=True)
    attention.o_proj.register_forward_pre_hook(lambda m, a: seen.update(read=a[0]))
    with plugin.attach(bare, wordpiece), torch.no_grad():
        outputs(bare, batch)
        x, (cos, sin) = seen["hidden_states"], seen["position_embeddings"]
        query, key, value = (
            layer(x).view(1, -1, heads, 8).transpose(1, 2)
            for layer, heads in ((attention.q_proj, 2), (attention.k_proj, 1), (attention.v_proj, 1))
        )
        turn = lambda t: torch.cat([-t[..., 4:], t[..., :4]], -1)  # noqa: E731
        query, key = query * cos + turn(query) * sin, key * cos + turn(key) * sin
        text = (query @ key.transpose(2, 3)) / 8**0.5
        text = text.masked_fill(~torch.ones(text.shape[2:], dtype=torch.bool).tril(), -torch.inf)
        kb = plugin.knowledge_base
        entries = plugin.mapping.entries(kb.vectors(range(len(kb))))[0]
        ours = plugin.mapping.queries(0, x) @ entries.keys.transpose(1, 2) / 8**0.5 + math.log(7.0) - math.log(len(kb))
        weights = torch.cat([ours, text], -1).softmax(-1)
        expected = weights[..., :5] @ entries.values + weights[..., 5:] @ value
    torch.testing.assert_close(seen["read"], expected.transpose(1, 2).flatten(2), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_both_implementations_agree(implementation, wordpiece):
    bare = build("llama")
    bare.set_attn_implementation(implementation)
    batch = inputs(bare, wordpiece, TEXTS)
    plain = outputs(bare, batch)
    with plugin_for(bare).attach(bare, wordpiece) as attachment:
        found = outputs(bare, batch)["logits"]
        with attachment.disabled():
            assert_same(outputs(bare, batch), plain)
    other = build("llama")
    with plugin_for(other).attach(other, wordpiece):
        keep = batch["attention_mask"].bool()
        torch.testing.assert_close(outputs(other, batch)["logits"][keep], found[keep], atol=1e-5, rtol=1e-4)


def test_a_token_looks_at_the_best_entries_alone(wordpiece):
    bare = build("llama")
    batch = inputs(bare, wordpiece, ["the museum"])
    plugin = plugin_for(bare, layers=[0], top=1, scale=1.0)
    with plugin.attach(bare, wordpiece):
        hook = find_hooks(bare)[0]
        pruned = outputs(bare, batch)["logits"]
        with hook.logging() as forwards:
            outputs(bare, batch)
        assert int((forwards[0].scores[0] > 0).sum()) == batch["input_ids"].numel()  # one for each token
        best = forwards[0].rows[0][0, :, 0]
        if len(set(best.tolist())) == 1:
            with hook.showing(best[:1]):
                torch.testing.assert_close(outputs(bare, batch)["logits"], pruned)


@way("methods", "kb-attention: beside other methods, detached in any order")
@pytest.mark.parametrize("first", [0, 1, 2])
def test_several_plugins_on_one_model(first, wordpiece):
    bare = build("llama")
    batch = inputs(bare, wordpiece, TEXTS)
    expected, before = outputs(bare, batch), fingerprint(bare)
    plugins = [make_plugin(bare), plugin_for(bare, seed=2), plugin_for(bare, seed=3)]
    attachments = [plugin.attach(bare, wordpiece) for plugin in plugins]
    together = outputs(bare, batch)
    attachments.pop(first).detach()
    assert first == 0 or not torch.equal(outputs(bare, batch)["logits"], together["logits"])
    for attachment in attachments:
        attachment.detach()
    assert fingerprint(bare) == before
    assert_same(outputs(bare, batch), expected)


def test_a_copy_has_the_plugin_and_loses_it_alone(wordpiece):
    bare = build("llama")
    plugin = plugin_for(bare)
    plugin.attach(bare, wordpiece)
    batch = inputs(bare, wordpiece, TEXTS)
    expected, twin = outputs(bare, batch), copy.deepcopy(bare)
    assert_same(outputs(twin, batch), expected)
    plugin.detach(twin)
    assert_same(outputs(twin, batch), outputs(build("llama"), batch))
    assert_same(outputs(bare, batch), expected)


def test_it_saves_loads_and_explains(wordpiece, tmp_path):
    bare = build("llama")
    batch = inputs(bare, wordpiece, TEXTS)
    plugin = plugin_for(bare)
    with plugin.attach(bare, wordpiece) as attachment:
        expected = outputs(bare, batch)
        found = attachment.explain("the museum in Paris")
    assert [m.entity_id for m in found if not 0 <= m.score <= 1] == []
    assert found[0].score == max(m.score for m in found)
    plugin.save_pretrained(tmp_path / "plugin")
    with KnowledgePlugin.from_pretrained(tmp_path / "plugin").attach(bare, wordpiece):
        assert_same(outputs(bare, batch), expected)


def test_entries_are_exchanged_added_and_removed_under_the_attached_model(wordpiece):
    bare = build("llama")
    batch = inputs(bare, wordpiece, TEXTS)
    plugin = plugin_for(bare)
    kb = plugin.knowledge_base
    with plugin.attach(bare, wordpiece):
        found = [outputs(bare, batch)["logits"]]
        kb.upsert([kb["geo:paris"]], 3 * torch.ones(1, 8))
        found.append(outputs(bare, batch)["logits"])
        kb.remove(["geo:paris"])
        found.append(outputs(bare, batch)["logits"])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


def test_queries_begin_as_those_of_the_layer():
    bare = build("llama")
    plugin = layer_plugin(bare, "kb-attention", strength=0)
    assert torch.equal(plugin.mapping.query_layers[0].weight, bare.model.layers[0].self_attn.q_proj.weight)


def test_encoders_are_refused():
    with pytest.raises(MappingError, match="decoders"):
        plugin_for(build("bert-masked-lm"))


def test_a_decoder_without_attention_is_refused(wordpiece):
    with pytest.raises(IncompatibleModelError, match="self-attention"):
        plugin_for(build("mamba"))


@way("methods", "kb-attention on latent attention (MiniCPM 3)", limit="its values are of another width than its keys")
def test_values_of_another_width_are_refused(wordpiece):
    bare = build("minicpm3")
    with plugin_for(bare).attach(bare, wordpiece), pytest.raises(AttachmentError, match="wide where keys are not"):
        outputs(bare, inputs(bare, wordpiece, TEXTS))


def test_a_model_of_other_heads_is_refused(wordpiece):
    bare = build("llama")
    plugin = plugin_for(build("qwen3"))
    plugin.config = plugin_for(bare).config
    plugin.mapping.heads = 4
    with plugin.attach(bare, wordpiece), pytest.raises(AttachmentError, match="4 attention heads"):
        outputs(bare, inputs(bare, wordpiece, TEXTS))
