"""Methods that hang on layers, at the edges: trainers, parts of a model, precision, other threads."""

from __future__ import annotations

import threading

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertLMHeadModel,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    TrainerCallback,
    TrainingArguments,
)

from knowledge_plugin import KnowledgePlugin, MapTuningTrainer
from knowledge_plugin.errors import AttachmentError, IncompatibleModelError, TrainingError
from knowledge_plugin.injection.hook import find_hooks
from tests import tiny
from tests.contract.architectures import build
from tests.contract.common import TEXTS, inputs, outputs
from tests.contract.test_layer_methods import layer_plugin

METHODS = ("kformer", "memory", "kb-attention")
ROWS = [{"text": f"the {name} is", "label": label} for name, label in (("paris", "old"), ("berlin", "wide"))] * 2
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}


@pytest.fixture(params=METHODS)
def method(request) -> str:
    return request.param


def bert(wordpiece, cls=BertForSequenceClassification, **options):
    torch.manual_seed(0)
    return cls(BertConfig(vocab_size=len(wordpiece), intermediate_size=32, **SMALL | options)).eval()


def step(model, plugin, tokenizer, folder, **options) -> dict[str, torch.Tensor]:
    """Return the gradients of the first step of a training."""
    gradients = {}

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, *args, **kwargs):
            gradients.update({n: p.grad.clone() for n, p in plugin.mapping.named_parameters() if p.grad is not None})

    args = TrainingArguments(
        str(folder), max_steps=1, per_device_train_batch_size=4, report_to="none", disable_tqdm=True, use_cpu=True,
        save_strategy="no", max_grad_norm=0, **options,
    )  # fmt: skip
    trainer = MapTuningTrainer(
        model, args, plugin=plugin, processing_class=tokenizer, train_dataset=ROWS, callbacks=[Keep()]
    )
    trainer.train()
    return gradients


# ---- in a trainer ----------------------------------------------------------------------------------------------------


def test_an_encoder_decoder_learns(method, wordpiece, tmp_path):
    model = build("t5")
    gradients = step(model, layer_plugin(model, method), wordpiece, tmp_path)
    looks_up = {"kformer": "found_by.query.weight", "memory": "readers.0.lookup.query.weight"}
    assert float(gradients[looks_up.get(method, "query_layers.0.weight")].abs().max()) > 0


def test_checkpointed_layers_have_the_same_gradients(method, wordpiece, tmp_path):
    found = []
    for checkpointed in (False, True):
        model = build("llama")
        model.config.use_cache = False
        plugin = layer_plugin(model, method)
        found.append(step(model, plugin, wordpiece, tmp_path, gradient_checkpointing=checkpointed))
    assert found[0].keys() == found[1].keys()
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-4, atol=1e-8)


def test_checkpoints_that_lose_the_gradient_of_look_ups_are_refused(method, wordpiece, tmp_path):
    model = build("llama")
    options = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}
    with pytest.raises(TrainingError, match="use_reentrant"):
        step(model, layer_plugin(model, method), wordpiece, tmp_path, **options)


# ---- a part of the model ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS[:2])
def test_below_the_head_it_is_the_same(method, wordpiece):
    model = bert(wordpiece)
    batch, other = inputs(model, wordpiece, TEXTS), inputs(model, wordpiece, ["the river", "a"])
    with layer_plugin(model, method).attach(model, wordpiece):
        expected = model(**batch, output_hidden_states=True).hidden_states[-1]  # with gradients
        for before in (batch, other):
            model(**before)
            torch.testing.assert_close(model.bert(**batch).last_hidden_state, expected)


@pytest.mark.parametrize("method", METHODS[:2])
def test_a_prefix_that_is_learned_is_no_padding(method, wordpiece):
    model = bert(wordpiece, num_labels=2)
    tuned = get_peft_model(model, PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2)).eval()
    batch = inputs(model, wordpiece, ["the museum of Paris"])
    longer = {name: torch.nn.functional.pad(tensor, (0, 3)) for name, tensor in batch.items()}
    plain = tuned(**batch).logits
    with layer_plugin(model, method).attach(tuned, wordpiece):
        found = tuned(**batch).logits
        assert not torch.equal(found, plain)
        torch.testing.assert_close(tuned(**longer).logits, found, atol=1e-6, rtol=1e-5)


def test_a_layer_by_itself_is_not_without_knowledge(wordpiece):
    layer = (model := bert(wordpiece)).bert.encoder.layer[-1]
    hidden = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))
    plain = layer(hidden)
    with layer_plugin(model, "memory").attach(model, wordpiece):
        assert not torch.equal(layer(hidden)[0], plain[0])
        assert find_hooks(model)[0]._current() is None


# ---- precision -------------------------------------------------------------------------------------------------------


def test_what_is_kept_does_not_depend_on_what_ran_before(method, wordpiece):
    model = build("llama")
    batch = inputs(model, wordpiece, TEXTS)
    with layer_plugin(model, method).attach(model, wordpiece):
        expected = outputs(model, batch)["logits"]
    with layer_plugin(model, method).attach(model, wordpiece):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            model(**batch)
        assert torch.equal(outputs(model, batch)["logits"], expected)
    with layer_plugin(model, method).attach(model, wordpiece):
        with torch.inference_mode():
            model(**batch)
        model(**batch).logits.sum().backward()


def test_a_plugin_made_in_inference_mode_serves_there(method, wordpiece):
    model = build("llama")
    with torch.inference_mode():
        plugin = layer_plugin(model, method)
        with plugin.attach(model, wordpiece):
            assert bool(model(**inputs(model, wordpiece, TEXTS)).logits.isfinite().all())


@pytest.mark.parametrize("method", METHODS[:2])
def test_what_is_no_number_stays_none(method, wordpiece):
    model = build("llama")
    with torch.no_grad():
        model.get_input_embeddings().weight[5] = torch.nan
    with layer_plugin(model, method).attach(model, wordpiece):
        assert not bool(model(input_ids=torch.tensor([[5, 6]])).logits.isfinite().any())


# ---- where queries begin ---------------------------------------------------------------------------------------------


def test_queries_begin_as_queries_whatever_stands_first(wordpiece):
    torch.manual_seed(0)
    model = OPTForCausalLM(OPTConfig(vocab_size=len(wordpiece), ffn_dim=32, word_embed_proj_dim=16, **SMALL))
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base(), method="kb-attention", layers=[0])
    attention = model.model.decoder.layers[0].self_attn
    assert torch.equal(plugin.mapping.query_layers[0].weight, attention.q_proj.weight)


def test_queries_begin_as_those_below_an_adapter():
    model = build("llama")
    own = model.model.layers[0].self_attn.q_proj.weight
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    plugin = KnowledgePlugin.for_model(adapted, tiny.knowledge_base(), method="kb-attention", layers=[0])
    assert torch.equal(plugin.mapping.query_layers[0].weight, own)


# ---- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS[:2])
def test_feed_forwards_in_chunks_are_refused(method, wordpiece):
    model = bert(wordpiece, chunk_size_feed_forward=1)
    with pytest.raises(IncompatibleModelError, match="chunk_size_feed_forward"):
        layer_plugin(model, method).attach(model, wordpiece)


@pytest.mark.parametrize("method", METHODS[:2])
def test_a_plugin_of_an_encoder_does_not_go_into_a_decoder(method, wordpiece):
    plugin = layer_plugin(bert(wordpiece), method)
    with pytest.raises(IncompatibleModelError, match="would see what follows"):
        plugin.attach(bert(wordpiece, BertLMHeadModel, is_decoder=True), wordpiece, strict=False)


def test_other_heads_are_refused_before_anything_is_hung_up(wordpiece):
    plugin = layer_plugin(build("llama"), "kb-attention")
    torch.manual_seed(0)
    other = MistralForCausalLM(
        MistralConfig(vocab_size=len(wordpiece), num_key_value_heads=1, **SMALL | {"num_attention_heads": 4})
    ).eval()
    with pytest.raises(IncompatibleModelError, match="attention heads"):
        plugin.attach(other, wordpiece, strict=False)
    assert not find_hooks(other)


@pytest.mark.parametrize("odd", ["sinks", "s_aux", "indices", "cu_seq_lens_q"])
def test_kinds_of_attention_that_would_be_lost_are_refused(odd, wordpiece):
    model = build("llama")
    with (
        layer_plugin(model, "kb-attention").attach(model, wordpiece),
        pytest.raises(AttachmentError, match=odd),
    ):
        model(**inputs(model, wordpiece, TEXTS), **{odd: torch.zeros(1)})


def test_a_window_without_a_mask_is_refused(wordpiece):
    torch.manual_seed(0)
    model = MistralForCausalLM(
        MistralConfig(vocab_size=len(wordpiece), intermediate_size=32, num_key_value_heads=2, sliding_window=3, **SMALL)
    ).eval()
    with layer_plugin(model, "kb-attention").attach(model, wordpiece):
        ids = torch.arange(5, 11)[None]
        model(input_ids=ids)
        model.set_attn_implementation("sdpa")
        attention = model.model.layers[0].self_attn
        hidden, around = torch.randn(1, 6, 16), model.model.rotary_emb(torch.zeros(1, 6, 16), torch.arange(6)[None])
        with pytest.raises(AttachmentError, match="window of 3"):
            attention(hidden, position_embeddings=around, attention_mask=None)


# ---- threads ---------------------------------------------------------------------------------------------------------


def test_what_one_thread_is_shown_another_is_not(wordpiece):
    model = build("llama")
    batch = inputs(model, wordpiece, TEXTS)
    with layer_plugin(model, "memory").attach(model, wordpiece):
        expected, found = outputs(model, batch)["logits"], []
        with find_hooks(model)[0].showing(torch.tensor([0])):
            assert not torch.equal(outputs(model, batch)["logits"], expected)
            thread = threading.Thread(target=lambda: found.append(outputs(model, batch)["logits"]))
            thread.start()
            thread.join()
        assert torch.equal(found[0], expected)
