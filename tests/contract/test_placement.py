"""Models that Accelerate has placed, in either order of attaching and dispatching."""

from __future__ import annotations

import pytest
import torch
from accelerate import cpu_offload, dispatch_model
from accelerate.hooks import remove_hook_from_submodules
from transformers import AutoModelForCausalLM, BertForSequenceClassification, T5ForConditionalGeneration

from knowledge_plugin.injection.hook import find_hooks
from tests.contract.architectures import build
from tests.contract.common import PLAIN, TEXTS, inputs, make_plugin, way

LLAMA = "model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "model.rotary_emb", "lm_head"
MAPS = {
    "cpu": {"": "cpu"},
    "embedding-on-disk": dict.fromkeys(LLAMA, "cpu") | {"model.embed_tokens": "disk"},
    "all-but-embedding-on-disk": dict.fromkeys(LLAMA, "disk") | {"model.embed_tokens": "cpu"},
    "disk": dict.fromkeys(LLAMA, "disk"),
}


@torch.no_grad()
def logits(model, batch):
    return model(**batch).logits


@way("placement", "device_map: CPU, disk offload, and mixtures of them")
@pytest.mark.parametrize("device_map", MAPS)
def test_device_map(device_map, wordpiece, tmp_path):
    bare = build("llama")
    bare.save_pretrained(tmp_path / "model")
    plugin = make_plugin(bare)
    with plugin.attach(bare, wordpiece) as (_, tokenizer):
        batch = inputs(bare, tokenizer, TEXTS)
        expected = logits(bare, batch)
    plain = logits(bare, inputs(bare, wordpiece, PLAIN))
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path / "model", device_map=MAPS[device_map], offload_folder=tmp_path / "offload"
    )
    with plugin.attach(model, wordpiece) as attachment:
        assert torch.allclose(logits(model, batch), expected, atol=1e-6)
        generated = model.generate(input_ids=batch["input_ids"][1:2], max_new_tokens=3, do_sample=False)
        assert generated.shape[1] > batch["input_ids"].shape[1]
        assert attachment.status()[0].embedding_device == "cpu"
    assert find_hooks(model) == []
    assert torch.allclose(logits(model, inputs(model, wordpiece, PLAIN)), plain, atol=1e-6)


@way("placement", "encoder and encoder-decoder with offload to disk")
@pytest.mark.parametrize(
    ("name", "cls"),
    [("bert-classification", BertForSequenceClassification), ("t5", T5ForConditionalGeneration)],
)
def test_offloaded_encoders(name, cls, wordpiece, tmp_path):
    bare = build(name)
    bare.save_pretrained(tmp_path / "model")
    plugin = make_plugin(bare)
    with plugin.attach(bare, wordpiece) as (_, tokenizer):
        batch = inputs(bare, tokenizer, TEXTS)
        expected = logits(bare, batch)
    model = cls.from_pretrained(tmp_path / "model", device_map={"": "cpu"})
    cpu_offload(model)
    with plugin.attach(model, wordpiece):
        assert torch.allclose(logits(model, batch), expected, atol=1e-6)


@way("placement", "attach then dispatch, dispatch then attach; detach and remove Accelerate's hooks in either order")
@pytest.mark.parametrize("attach_first", [True, False])
@pytest.mark.parametrize("detach_first", [True, False])
def test_orders(attach_first, detach_first, wordpiece, tmp_path):
    model = build("gemma3")
    plugin = make_plugin(model)
    plain = logits(model, inputs(model, wordpiece, PLAIN))
    with plugin.attach(model, wordpiece) as (_, tokenizer):
        batch = inputs(model, tokenizer, TEXTS)
        expected = logits(model, batch)
    places = dict.fromkeys(LLAMA, "cpu") | {"model.layers.0": "disk", "model.rotary_emb": "cpu"}
    if attach_first:
        attachment = plugin.attach(model, wordpiece)
    dispatch_model(model, places, offload_dir=tmp_path, force_hooks=True, main_device="cpu")
    if not attach_first:
        attachment = plugin.attach(model, wordpiece)
    assert torch.equal(logits(model, batch), expected)
    if detach_first:
        attachment.detach()
        assert torch.equal(logits(model, inputs(model, wordpiece, PLAIN)), plain)
        remove_hook_from_submodules(model)
    else:
        remove_hook_from_submodules(model)
        attachment.detach()
    assert find_hooks(model) == []
