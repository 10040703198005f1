from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import FalconConfig, FalconForCausalLM, GitConfig, GitForCausalLM

from knowledge_plugin.errors import IncompatibleModelError
from knowledge_plugin.injection.layers import FeedForward, feed_forward, self_attention, transformer_layers
from tests.contract.architectures import ARCHITECTURES, ENCODER, build
from tests.contract.common import TEXTS, inputs

WIDTH = 16
EXPERTS, NONE = "MixtralExperts, like a mixture of experts", "0"
NO_FEED_FORWARD = {"mixtral": EXPERTS, "mamba": NONE}
NO_SELF_ATTENTION = [  # encoders, and a state-space model
    "bert-classification",
    "bert-masked-lm",
    "bert-token-classification",
    "roberta",
    "xlm-roberta",
    "distilbert",
    "electra",
    "albert",
    "mpnet",
    "longformer",
    "deberta-v2",
    "deberta-v2-factorized",
    "modernbert",
    "modernbert-masked-lm",
    "big-bird-rescaled",
    "mamba",
]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_there_are_as_many_layers_as_the_config_says(name):
    model = build(name)
    said = model.config.get_text_config(decoder=True).num_hidden_layers
    layers = transformer_layers(model)
    assert len(layers) == (1 if name == "albert" else said)
    assert len({id(layer) for layer in layers}) == len(layers)
    if model.config.is_encoder_decoder:
        assert all(any(layer is m for m in model.get_decoder().modules()) for layer in layers)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in NO_FEED_FORWARD])
@torch.no_grad()
def test_the_feed_forward_is_read_at_up_and_written_at_down(name, wordpiece):
    model = build(name)
    batch = inputs(model, wordpiece, TEXTS)
    plain = model(**batch).logits
    layers = transformer_layers(model)
    events: list[tuple[int, str]] = []

    def reads(i):
        def hook(module, args):
            assert args[0].shape[-1] == WIDTH
            events.append((i, "up"))

        return hook

    def writes(i):
        def hook(module, args, output):
            assert output.shape[-1] == WIDTH
            events.append((i, "down"))

        return hook

    pairs = [feed_forward(layer, WIDTH) for layer in layers]
    handles = [pair.up.register_forward_pre_hook(reads(i)) for i, pair in enumerate(pairs)]
    handles += [pair.down.register_forward_hook(writes(i)) for i, pair in enumerate(pairs)]
    assert torch.equal(model(**batch).logits, plain)
    once = [(i, end) for i in range(len(layers)) for end in ("up", "down")]
    assert events == once * (model.config.num_hidden_layers if name == "albert" else 1)
    for handle in handles:
        handle.remove()
    for pair in pairs:
        term = torch.linspace(-3, 3, WIDTH)  # a norm behind would take away a constant
        handle = pair.down.register_forward_hook(lambda module, args, output: output + term)
        assert not torch.allclose(model(**batch).logits, plain)
        handle.remove()


@pytest.mark.parametrize("name", ["gpt2", "gpt-neox", "llama", "phi3", "gemma2", "gemma3n", "modernbert", "t5gemma"])
@torch.no_grad()
def test_the_ends_are_those_of_the_whole_feed_forward(name, wordpiece):
    model = build(name)
    batch = inputs(model, wordpiece, TEXTS)
    layer, term, seen = transformer_layers(model)[0], torch.linspace(-3, 3, WIDTH), []
    pair, logits = feed_forward(layer, WIDTH), []
    for module in (layer.mlp, pair.down):
        handle = module.register_forward_hook(lambda module, args, output: output + term)
        logits.append(model(**batch).logits)
        handle.remove()
    assert torch.equal(*logits)
    handles = [m.register_forward_pre_hook(lambda module, args: seen.append(args[0])) for m in (layer.mlp, pair.up)]
    model(**batch)
    assert torch.equal(*seen)
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize(("name", "found"), NO_FEED_FORWARD.items())
def test_layers_without_one_feed_forward_are_refused(name, found):
    with pytest.raises(IncompatibleModelError, match=rf"width 16, found {found}.*--method map-tuning"):
        feed_forward(transformer_layers(build(name))[0], WIDTH)


@pytest.mark.parametrize(
    ("name", "setting", "up", "down"),
    [
        ("bert-masked-lm", "intermediate_size", ["intermediate.dense"], "output.dense"),
        ("distilbert", "hidden_dim", ["ffn.lin1"], "ffn.lin2"),
        ("opt-projected", "ffn_dim", ["fc1"], "fc2"),
        ("llama", "intermediate_size", ["mlp.gate_proj", "mlp.up_proj"], "mlp.down_proj"),
        ("phi3", "intermediate_size", ["mlp.gate_up_proj"], "mlp.down_proj"),
        ("modernbert", "intermediate_size", ["mlp.Wi"], "mlp.Wo"),
        ("gpt2", "n_inner", ["mlp.c_fc"], "mlp.c_proj"),
    ],
)
@pytest.mark.parametrize("inner", [8, 16, 32])
def test_an_inner_width_that_others_have_too(name, setting, up, down, inner):
    config = build(name).config
    setattr(config, setting, inner)
    layer = transformer_layers(type(build(name))(config))[-1]
    pair = feed_forward(layer, WIDTH)
    assert pair.up in [layer.get_submodule(path) for path in up]
    assert pair.down is layer.get_submodule(down)


@pytest.mark.parametrize(
    ("name", "targets"),
    [("llama", ["q_proj", "up_proj", "gate_proj", "down_proj"]), ("gpt2", ["c_attn", "c_fc", "c_proj"])],
)
def test_layers_of_peft_are_taken_whole(name, targets):
    bare = build(name)
    bare_layers = transformer_layers(bare)
    model = get_peft_model(bare, LoraConfig(target_modules=targets, fan_in_fan_out=name == "gpt2"))
    layers = transformer_layers(model)
    assert all(a is b for a, b in zip(layers, bare_layers, strict=True))
    pair = feed_forward(layers[0], WIDTH)
    assert hasattr(pair.up, "base_layer")
    assert hasattr(pair.down, "base_layer")
    assert self_attention(layers[0]).layer_idx == 0


def test_a_compiled_model_has_the_layers_of_the_model():
    model = build("llama")
    assert transformer_layers(torch.compile(model)) == transformer_layers(model)


def test_quantised_projections_are_found():
    bitsandbytes = pytest.importorskip("bitsandbytes")
    layer = transformer_layers(build("llama"))[0]
    for name, child in list(layer.mlp.named_children()):
        if isinstance(child, nn.Linear):
            setattr(layer.mlp, name, bitsandbytes.nn.Linear4bit(child.in_features, child.out_features))
    pair = feed_forward(layer, WIDTH)
    assert pair == FeedForward(layer.mlp.up_proj, layer.mlp.down_proj)


def test_experts_in_a_list_and_several_feed_forwards_are_refused():
    layer = transformer_layers(build("llama"))[0]
    other = transformer_layers(build("llama"))[0]
    layer.second = other.mlp
    with pytest.raises(IncompatibleModelError, match=r"found 2\. Take a dense"):
        feed_forward(layer, WIDTH)
    layer.second = nn.ModuleList([other.mlp, layer.mlp])
    with pytest.raises(IncompatibleModelError, match="mixture of experts"):
        feed_forward(layer, WIDTH)


@pytest.mark.parametrize("model", [nn.Linear(2, 2), nn.Sequential(nn.ModuleList([nn.Linear(2, 2)])), "no model", None])
def test_what_has_no_layers_is_refused(model):
    with pytest.raises(IncompatibleModelError, match=r"ModuleList of layers, found no.*st\[0\]\.model"):
        transformer_layers(model)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in NO_SELF_ATTENTION])
@torch.no_grad()
def test_the_self_attention_is_called_once_in_each_layer(name, wordpiece):
    model = build(name)
    layers, calls = transformer_layers(model), []
    for i, layer in enumerate(layers):
        module = self_attention(layer)
        assert module.layer_idx == i
        module.register_forward_hook(lambda module, args, output: calls.append(module.layer_idx))
    model(**inputs(model, wordpiece, TEXTS))
    assert calls == list(range(len(layers)))


@pytest.mark.parametrize("name", NO_SELF_ATTENTION)
def test_layers_without_causal_self_attention_are_refused(name):
    with pytest.raises(IncompatibleModelError, match=r"found 0\. Take a dense.*--method map-tuning"):
        self_attention(transformer_layers(build(name))[0])


def test_attention_that_only_looks_as_if_it_called_the_interface_is_refused():
    config = FalconConfig(vocab_size=400, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    layer = transformer_layers(FalconForCausalLM(config))[0]
    assert layer.self_attention.is_causal
    assert feed_forward(layer, WIDTH).down is layer.mlp.dense_4h_to_h
    with pytest.raises(IncompatibleModelError, match="found 0"):
        self_attention(layer)


def test_the_text_model_is_taken_where_another_stack_is_longer():
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "image_size": 16, "patch_size": 8}
    config = GitConfig(vision_config=vision | {"num_hidden_layers": 3}, **ENCODER, bos_token_id=2, eos_token_id=3)
    model = GitForCausalLM(config)
    assert transformer_layers(model) == list(model.git.encoder.layer)
