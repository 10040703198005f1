"""Methods that hang on layers, in what people already run: PEFT, torch.compile, gradient checkpointing, autocast."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from knowledge_plugin.injection.hook import find_hooks
from tests.contract.architectures import build
from tests.contract.common import TEXTS, assert_same, fingerprint, inputs, outputs, way
from tests.contract.test_layer_methods import layer_plugin

METHODS = ("kformer", "memory", "kb-attention")


@pytest.fixture(params=METHODS)
def method(request) -> str:
    return request.param


@pytest.fixture
def bare():
    model = build("llama")
    model.config.use_cache = False
    return model


def lora(model):
    """Return the model with an adapter that is felt."""
    torch.manual_seed(5)
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    return get_peft_model(model, config).eval()


@way("methods", "kformer, memory and kb-attention: LoRA, before and after")
def test_an_adapter_and_a_plugin_go_in_in_any_order(bare, method, wordpiece):
    batch = inputs(bare, wordpiece, TEXTS)
    plugin = layer_plugin(bare, method)
    adapted = lora(bare)
    alone, before = outputs(adapted, batch), fingerprint(adapted)
    attachment = plugin.attach(adapted, wordpiece)
    after_peft = outputs(adapted, batch)
    assert not torch.equal(after_peft["logits"], alone["logits"])
    with adapted.disable_adapter():
        assert not torch.equal(outputs(adapted, batch)["logits"], after_peft["logits"])
    attachment.detach()
    assert fingerprint(adapted) == before
    assert_same(outputs(adapted, batch), alone)

    other = build("llama")
    other.config.use_cache = False
    attachment = layer_plugin(other, method).attach(other, wordpiece)
    adapted = lora(other)
    assert_same(outputs(adapted, batch), after_peft)
    attachment.detach()
    assert_same(outputs(adapted, batch), alone)


@way("methods", "kformer, memory and kb-attention: merge_and_unload under an attached plugin")
def test_an_adapter_is_merged_under_a_plugin(bare, method, wordpiece):
    batch = inputs(bare, wordpiece, TEXTS)
    adapted = lora(bare)
    with layer_plugin(bare, method).attach(adapted, wordpiece):
        expected = outputs(adapted, batch)["logits"]
        merged = adapted.merge_and_unload()
        torch.testing.assert_close(outputs(merged, batch)["logits"], expected, atol=1e-5, rtol=1e-4)
        assert find_hooks(merged)


@way("methods", "kformer, memory and kb-attention: torch.compile, with a break at each look-up")
def test_compiled_it_is_the_same(bare, method, wordpiece):
    torch.compiler.reset()
    batch = inputs(bare, wordpiece, TEXTS)
    plain = outputs(bare, batch)["logits"]
    with layer_plugin(bare, method).attach(bare, wordpiece), torch.no_grad():
        expected = bare(**batch).logits
        found = torch.compile(bare, backend="aot_eager")(**batch).logits
    torch.compiler.reset()
    assert not torch.equal(expected, plain)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@way("methods", "kformer, memory and kb-attention: gradient checkpointing, the model frozen")
def test_gradient_checkpointing(method, wordpiece):
    gradients = []
    for checkpointing in (False, True):
        model = build("llama").requires_grad_(False).train()
        model.config.use_cache = False
        if checkpointing:
            model.gradient_checkpointing_enable()
        plugin = layer_plugin(model, method)
        plugin.mapping.train().requires_grad_(True)
        with plugin.attach(model, wordpiece) as (model, tokenizer):
            hook = find_hooks(model)[0]
            with hook.showing(torch.arange(5)):
                model(**inputs(model, tokenizer, TEXTS)).logits.square().mean().backward()
        gradients.append({name: p.grad for name, p in plugin.mapping.named_parameters() if p.grad is not None})
    plain, recomputed = gradients
    assert plain.keys() == recomputed.keys()
    assert any(gradient.abs().max() > 0 for gradient in plain.values())
    for name in plain:
        torch.testing.assert_close(plain[name], recomputed[name], rtol=1e-4, atol=1e-8)


@way("methods", "kformer, memory and kb-attention: autocast to bfloat16")
def test_autocast(bare, method, wordpiece):
    batch = inputs(bare, wordpiece, TEXTS)
    with layer_plugin(bare, method).attach(bare, wordpiece), torch.autocast("cpu", torch.bfloat16):
        assert outputs(bare, batch)["logits"].isfinite().all()
