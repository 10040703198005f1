"""The contract of methods that hang on layers: untrained, empty, switched off or detached, they are the base model."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
import torch

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import AttachmentError, IncompatibleModelError
from knowledge_plugin.injection.hook import find_hooks
from tests import tiny
from tests.contract.architectures import ARCHITECTURES, GENERATORS, READERS, build
from tests.contract.common import PLAIN, TEXTS, assert_same, fingerprint, inputs, make_plugin, outputs, way

METHODS = ("kformer", "memory")
# Of these the suite shows that they are refused, and why, in tests/injection/test_layers.py.
WITHOUT_FEED_FORWARD = {"mixtral", "mamba"}
DENSE = [name for name in ARCHITECTURES if name not in WITHOUT_FEED_FORWARD]
DECODERS = [name for name in GENERATORS if name in DENSE and not build(name).config.is_encoder_decoder]


def layer_plugin(model, method, seed=1, strength=0.3, **settings) -> KnowledgePlugin:
    """Return a plugin whose network is large enough to be felt in the output; 0 leaves it untrained."""
    torch.manual_seed(seed)
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base(), method=method, **{"key_dim": 8} | settings)
    if strength:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in plugin.mapping.parameters():
                parameter.copy_(strength * torch.randn(parameter.shape, generator=generator))
    plugin.mapping.requires_grad_(False)
    return plugin


@pytest.fixture(params=METHODS)
def method(request) -> str:
    return request.param


@pytest.fixture(params=DENSE)
def bare(request):
    return build(request.param)


@way("methods", "kformer and memory: untrained, they are the base model to the bit")
def test_untrained_it_is_the_base_model(bare, method, wordpiece):
    batch = inputs(bare, wordpiece, TEXTS)
    expected = outputs(bare, batch)
    with layer_plugin(bare, method, strength=0).attach(bare, wordpiece) as (model, tokenizer):
        after = inputs(model, tokenizer, TEXTS)
        assert torch.equal(batch["input_ids"], after["input_ids"])
        assert_same(outputs(model, after), expected)


@way("methods", "kformer and memory: empty, switched off or detached, they are the base model to the bit")
def test_trained_it_is_felt_and_goes_without_a_trace(bare, method, wordpiece):
    batch = inputs(bare, wordpiece, TEXTS)
    expected = outputs(bare, batch)
    before = fingerprint(bare)
    attachment = layer_plugin(bare, method).attach(bare, wordpiece)
    assert not torch.equal(outputs(bare, batch)["logits"], expected["logits"])
    with attachment.disabled():
        assert_same(outputs(bare, batch), expected)
    with find_hooks(bare)[0].showing(torch.tensor([], dtype=torch.int64)):
        assert_same(outputs(bare, batch), expected)
    attachment.detach()
    assert fingerprint(bare) == before
    assert_same(outputs(bare, batch), expected)


def test_in_bfloat16_too(bare, method, wordpiece):
    model = bare.to(torch.bfloat16)
    batch = inputs(model, wordpiece, PLAIN)
    expected = outputs(model, batch)
    with layer_plugin(model, method).attach(model, wordpiece):
        found = outputs(model, batch)
    assert found["logits"].dtype == expected["logits"].dtype
    assert not torch.equal(found["logits"], expected["logits"])


def test_gradients_reach_the_network_and_not_the_frozen_base(bare, method, wordpiece):
    bare.requires_grad_(False)
    plugin = layer_plugin(bare, method)
    plugin.mapping.train().requires_grad_(True)
    with plugin.attach(bare, wordpiece) as (model, tokenizer):
        hook = find_hooks(model)[0]
        with hook.showing(torch.arange(5)), hook.logging() as forwards:
            loss = model(**inputs(model, tokenizer, TEXTS)).logits.square().mean()
        length = forwards[0].scores[0].shape[1]
        gold = torch.ones(len(TEXTS), length, dtype=torch.int64)
        (loss + hook.lookup_loss(forwards[0], gold)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in plugin.mapping.parameters())
    assert all(p.grad is None for p in bare.parameters())


@way("methods", "kformer and memory: padding changes nothing but rounding")
@pytest.mark.parametrize("name", [name for name in READERS if name in DENSE and name != "longformer"])
def test_padding_is_not_looked_up(name, method, wordpiece):
    bare = build(name)
    with layer_plugin(bare, method).attach(bare, wordpiece) as (model, tokenizer):
        together = outputs(model, inputs(model, tokenizer, TEXTS))["logits"]
        alone = outputs(model, inputs(model, tokenizer, TEXTS[1:2]))["logits"]
    if together.dim() == 3:
        together = together[:, : alone.shape[1]]
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-4)


@way("methods", "kformer and memory: a decoder does not see what follows, so that a cache changes nothing")
@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_does_not_see_what_follows(name, method, wordpiece):
    bare = build(name)
    with layer_plugin(bare, method).attach(bare, wordpiece) as (model, tokenizer):
        batch = tokenizer(["the museum in Paris and the old town"], return_tensors="pt")
        batch.pop("token_type_ids", None)
        ids = batch["input_ids"]
        whole = outputs(model, batch)["logits"]
        first = model(input_ids=ids[:, :5]).logits
        torch.testing.assert_close(whole[:, :5], first.detach(), atol=1e-5, rtol=1e-4)
        options = {"max_new_tokens": 6, "do_sample": False}
        with_cache, without = (model.generate(**batch, **options, use_cache=cache) for cache in (True, False))
        assert torch.equal(with_cache, without)


@way("methods", "kformer and memory: beside another method, detached in any order")
@pytest.mark.parametrize("name", ["bert-masked-lm", "llama", "t5"])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_several_methods_on_one_model(name, first, wordpiece):
    bare = build(name)
    batch = inputs(bare, wordpiece, TEXTS)
    expected, before = outputs(bare, batch), fingerprint(bare)
    plugins = [make_plugin(bare), layer_plugin(bare, "kformer", seed=2), layer_plugin(bare, "memory", seed=3)]
    attachments = [plugin.attach(bare, wordpiece) for plugin in plugins]
    assert [status.name for status in attachments[0].status()] == ["cities", "cities-2", "cities-3"]
    together = outputs(bare, batch)
    attachments.pop(first).detach()
    assert first == 0 or not torch.equal(outputs(bare, batch)["logits"], together["logits"])
    for attachment in attachments:
        attachment.detach()
    assert fingerprint(bare) == before
    assert_same(outputs(bare, batch), expected)


@pytest.mark.parametrize("name", ["bert-classification", "llama"])
def test_a_copy_has_the_plugin_and_loses_it_alone(name, method, wordpiece):
    bare = build(name)
    batch = inputs(bare, wordpiece, TEXTS)
    plugin = layer_plugin(bare, method)
    plugin.attach(bare, wordpiece)
    sent = pickle.loads(pickle.dumps(bare))  # before transformers hangs hooks of its own on a model that is run
    base = outputs(build(name), batch)
    expected = outputs(bare, batch)
    twin = copy.deepcopy(bare)
    assert_same(outputs(twin, batch), expected)
    assert_same(outputs(sent, batch), expected)
    plugin.detach(twin)
    assert_same(outputs(twin, batch), base)
    assert_same(outputs(bare, batch), expected)


def test_threads_do_not_mix(method, wordpiece):
    bare = build("bert-classification")
    batches = [inputs(bare, wordpiece, [text]) for text in TEXTS]
    with layer_plugin(bare, method).attach(bare, wordpiece) as (model, _):
        expected = [outputs(model, batch)["logits"] for batch in batches]
        wrong = []

        def run(i):
            for _ in range(20):
                if not torch.equal(outputs(model, batches[i])["logits"], expected[i]):
                    wrong.append(i)

        threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_forward_that_raises_leaves_nothing_behind(method, wordpiece):
    bare = build("bert-classification")
    batch = inputs(bare, wordpiece, TEXTS)
    with layer_plugin(bare, method).attach(bare, wordpiece) as (model, _):
        expected = outputs(model, batch)
        with pytest.raises((IndexError, RuntimeError)), torch.no_grad():
            model(input_ids=torch.full((7, 3), 10**6))
        assert_same(outputs(model, batch), expected)


def test_explain_says_what_was_looked_up(method, wordpiece):
    bare = build("bert-classification")
    with layer_plugin(bare, method, top=2).attach(bare, wordpiece) as attachment:
        found = attachment.explain("the museum in Paris")
        assert len(found) == 2
        assert found[0].score >= found[1].score
        assert {(m.start, m.end) for m in found} == {(0, 19)}
        status = attachment.status()[0]
        assert (status.form, status.virtual_ids) == (None, None)
        assert status.modules


def test_it_saves_and_loads(method, wordpiece, tmp_path):
    bare = build("bert-classification")
    batch = inputs(bare, wordpiece, TEXTS)
    plugin = layer_plugin(bare, method)
    with plugin.attach(bare, wordpiece):
        expected = outputs(bare, batch)
    plugin.save_pretrained(tmp_path / "plugin")
    loaded = KnowledgePlugin.from_pretrained(tmp_path / "plugin")
    assert loaded.config.injection == plugin.config.injection
    with loaded.attach(bare, wordpiece):
        assert_same(outputs(bare, batch), expected)


def test_knowledge_that_changes_is_seen_at_once(method, wordpiece):
    bare = build("bert-classification")
    batch = inputs(bare, wordpiece, TEXTS)
    plugin = layer_plugin(bare, method, top=5)
    kb = plugin.knowledge_base
    with plugin.attach(bare, wordpiece):
        before = outputs(bare, batch)["logits"]
        kb.upsert([kb["geo:paris"]], 3 * torch.ones(1, 8))
        edited = outputs(bare, batch)["logits"]
        kb.remove(["geo:paris"])
        removed = outputs(bare, batch)["logits"]
    assert not torch.equal(before, edited)
    assert not torch.equal(edited, removed)


@pytest.mark.parametrize("name", sorted(WITHOUT_FEED_FORWARD))
def test_a_model_without_dense_feed_forwards_is_refused(name, method, wordpiece):
    bare = build(name)
    before = fingerprint(bare)
    with pytest.raises(IncompatibleModelError, match=r"method='map-tuning'\), on the command line --method map-tuning"):
        layer_plugin(bare, method).attach(bare, wordpiece)
    assert fingerprint(bare) == before
    make_plugin(bare).attach(bare, wordpiece).detach()


def test_embeddings_of_a_prompt_do_not_hold_it(method, wordpiece):
    bare = build("llama")
    with (
        layer_plugin(bare, method).attach(bare, wordpiece) as attachment,
        pytest.raises(AttachmentError, match="layers"),
    ):
        attachment.prompt_embeds("the museum")
