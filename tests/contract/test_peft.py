"""PEFT bases, in either order of attaching, and what adapters save."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file

from knowledge_plugin.errors import AttachmentError
from knowledge_plugin.injection.hook import find_hooks
from tests.contract.architectures import build
from tests.contract.common import TEXTS, enlarge, inputs, make_plugin, way

peft = pytest.importorskip("peft")

BEFORE_AND_AFTER = [
    pytest.param("llama", lambda: peft.LoraConfig(target_modules=["q_proj"]), marks=way("PEFT", "LoRA")),
    pytest.param("bert-classification", lambda: peft.LoraConfig(target_modules=["query"]), marks=way("PEFT", "LoRA")),
    pytest.param("t5", lambda: peft.LoraConfig(target_modules=["q"]), marks=way("PEFT", "LoRA")),
    pytest.param(
        "llama",
        lambda: peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        marks=way("PEFT", "IA3"),
    ),
    pytest.param(
        "llama",
        lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        marks=way("PEFT", "prefix tuning"),
    ),
]
AFTER = [
    *BEFORE_AND_AFTER,
    pytest.param(
        "llama",
        lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        marks=way("PEFT", "prompt tuning"),
    ),
    pytest.param(
        "llama",
        lambda: peft.LoraConfig(target_modules=["embed_tokens", "q_proj"]),
        marks=way("PEFT", "LoRA on the word embeddings (attach after PEFT)"),
    ),
    pytest.param(
        "gemma3",
        lambda: peft.LoraConfig(target_modules=["embed_tokens"]),
        marks=way("PEFT", "LoRA on the word embeddings (attach after PEFT)"),
    ),
    pytest.param(
        "llama",
        lambda: peft.LoraConfig(target_modules=["q_proj"], trainable_token_indices=[5, 6]),
        marks=way("PEFT", "trainable_token_indices (attach after PEFT)"),
    ),
    pytest.param(
        "llama",
        lambda: peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["embed_tokens"]),
        marks=way("PEFT", "modules_to_save with the word embeddings (attach after PEFT)"),
    ),
]


def adapted(model, make_config):
    """Return a PEFT model whose adapter does something."""
    torch.manual_seed(5)
    model = peft.get_peft_model(model, make_config()).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in ("lora_", "ia3_", "prompt_encoder", "trainable_tokens")):
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


def batch_of(model, tokenizer):
    batch = inputs(model, tokenizer, TEXTS)
    batch["use_cache"] = False
    return batch


@torch.no_grad()
def logits(model, batch):
    return model(**batch).logits


@pytest.mark.parametrize(("name", "make_config"), AFTER)
def test_attached_after_peft(name, make_config, wordpiece):
    bare = build(name)
    plugin = make_plugin(bare)
    model = adapted(bare, make_config)
    plain = logits(model, batch_of(model, wordpiece))
    attachment = plugin.attach(model, wordpiece)
    batch = batch_of(model, attachment.tokenizer)
    found = logits(model, batch)
    # The same input embeddings, given outright: what the virtual rows add must be all that the plugin does.
    embeds = [embedding.detach() for embedding in attachment.prompt_embeds(TEXTS)]
    for row, embedding, ids in zip(batch["input_ids"], embeds, batch["attention_mask"], strict=True):
        expected = plugin.mapping(plugin.knowledge_base.vectors(row[row >= 400] - 400))
        scale = getattr(bare.get_input_embeddings(), "embed_scale", None)
        scale = getattr(getattr(bare.get_input_embeddings(), "base_layer", None), "embed_scale", scale)
        expected = expected if scale is None else expected * scale
        assert torch.equal(embedding[row[: int(ids.sum())] >= 400], expected)
    assert found.isfinite().all()
    attachment.detach()
    assert find_hooks(model) == []
    assert torch.equal(logits(model, batch_of(model, wordpiece)), plain)


@pytest.mark.parametrize(("name", "make_config"), AFTER)
def test_the_truly_enlarged_model_says_the_same(name, make_config, wordpiece):
    bare = build(name)
    plugin = make_plugin(bare)
    enlarged = enlarge(bare, plugin)
    enlarged.config.vocab_size = enlarged.get_input_embeddings().num_embeddings  # prompt tuning looks for it
    enlarged, model = adapted(enlarged, make_config), adapted(bare, make_config)
    with torch.no_grad():
        learned = dict(model.named_parameters())
        for parameter_name, parameter in enlarged.named_parameters():
            if parameter_name not in learned:  # a head that was tied to the word embeddings
                continue
            source = learned[parameter_name]
            if "lora_embedding" in parameter_name:  # the adapter has learned nothing of entities
                parameter.zero_()
            parameter[tuple(slice(0, n) for n in source.shape)] = source
    with plugin.attach(model, wordpiece) as (model, tokenizer):
        batch = batch_of(model, tokenizer)
        assert torch.equal(logits(model, batch), logits(enlarged, batch))


@pytest.mark.parametrize(("name", "make_config"), BEFORE_AND_AFTER)
def test_attached_before_peft_is_the_same(name, make_config, wordpiece):
    bare = build(name)
    plugin = make_plugin(bare)
    twin = copy.deepcopy(bare)
    after = adapted(bare, make_config)
    with plugin.attach(after, wordpiece) as (_, tokenizer):
        batch = batch_of(after, tokenizer)
        expected = logits(after, batch)
    attachment = plugin.attach(twin, wordpiece)
    before = adapted(twin, make_config)
    assert torch.equal(logits(before, batch), expected)
    attachment.detach()
    assert find_hooks(before) == []


@way("PEFT", "disable_adapter: the base with the plugin")
def test_disable_adapter(wordpiece):
    bare = build("llama")
    plugin = make_plugin(bare)
    enlarged = enlarge(bare, plugin)
    model = adapted(bare, lambda: peft.LoraConfig(target_modules=["q_proj"]))
    with plugin.attach(model, wordpiece) as (model, tokenizer):
        batch = batch_of(model, tokenizer)
        with model.disable_adapter():
            assert torch.equal(logits(model, batch), logits(enlarged, batch))


@way("PEFT", "merge_and_unload under an attached plugin")
@pytest.mark.parametrize("targets", [["q_proj"], ["q_proj", "embed_tokens"]])
def test_merge_and_unload(targets, wordpiece):
    bare = build("llama")
    plugin = make_plugin(bare)
    model = adapted(bare, lambda: peft.LoraConfig(target_modules=targets))
    attachment = plugin.attach(model, wordpiece)
    batch = batch_of(model, attachment.tokenizer)
    expected = logits(model, batch)
    merged = model.merge_and_unload()
    assert torch.allclose(logits(merged, batch), expected, atol=1e-5)
    attachment.detach()
    assert find_hooks(merged) == []


def test_merging_a_copy_of_the_word_embeddings_is_noticed(wordpiece):
    bare = build("llama")
    plugin = make_plugin(bare)
    model = adapted(bare, lambda: peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["embed_tokens"]))
    attachment = plugin.attach(model, wordpiece)
    batch = batch_of(model, attachment.tokenizer)
    merged = model.merge_and_unload()
    with pytest.raises(AttachmentError, match="wrapped or replaced"):
        logits(merged, batch)


@way("PEFT", "generate through a PEFT model")
@pytest.mark.parametrize(
    "make_config",
    [
        lambda: peft.LoraConfig(target_modules=["q_proj", "embed_tokens"]),
        lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    ],
)
def test_generate(make_config, wordpiece):
    bare = build("llama")
    plugin = make_plugin(bare)
    twin = copy.deepcopy(bare)
    model = adapted(bare, make_config)
    with plugin.attach(model, wordpiece) as (_, tokenizer):
        batch = tokenizer(["the museum in Paris"], return_tensors="pt")
        batch.pop("token_type_ids", None)
        found = model.generate(**batch, max_new_tokens=4, do_sample=False)
        # Step by step, each time the most likely word of a model that has no cache.
        ids = batch["input_ids"]
        for _ in range(found.shape[1] - ids.shape[1]):
            step = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[:, -1]
            ids = torch.cat([ids, step.argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(found, ids)
    assert found.shape[1] > batch["input_ids"].shape[1]
    assert find_hooks(twin) == []


@way("PEFT", "the adapter's own save holds nothing of ours, and loads without us")
def test_the_adapters_file(wordpiece, tmp_path):
    bare = build("llama")
    twin = copy.deepcopy(bare)
    model = adapted(bare, lambda: peft.LoraConfig(target_modules=["q_proj"]))
    expected = logits(model, batch_of(model, wordpiece))
    with make_plugin(bare).attach(model, wordpiece):
        model.save_pretrained(tmp_path)
    assert all("lora_" in key for key in load_file(tmp_path / "adapter_model.safetensors"))
    loaded = peft.PeftModel.from_pretrained(twin, tmp_path).eval()
    assert torch.equal(logits(loaded, batch_of(loaded, wordpiece)), expected)


@way(
    "PEFT",
    "LoRA put on the word embeddings of a model that has a plugin",
    limit="its own look-up would see virtual ids: an error says to detach and attach again",
)
def test_an_adapter_put_over_the_hook_is_noticed(wordpiece):
    bare = build("llama")
    attachment = make_plugin(bare).attach(bare, wordpiece)
    model = adapted(bare, lambda: peft.LoraConfig(target_modules=["embed_tokens"]))
    with pytest.raises(AttachmentError, match="wrapped or replaced"):
        logits(model, batch_of(model, attachment.tokenizer))
    attachment.detach()
    with make_plugin(model).attach(model, wordpiece) as (model, tokenizer):
        assert logits(model, batch_of(model, tokenizer)).isfinite().all()
