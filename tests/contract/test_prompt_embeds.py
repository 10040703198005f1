"""Input embeddings for engines that take them instead of token ids."""

from __future__ import annotations

import pytest
import torch

from knowledge_plugin import Mention
from knowledge_plugin.errors import AttachmentError
from tests.contract.architectures import ARCHITECTURES, VOCAB, build
from tests.contract.common import TEXTS, inputs, make_plugin, way

WITHOUT_PROMPT_EMBEDS = ("gemma4", "longformer", "marian-scaled", "pegasus")


@way("serving", "prompt_embeds: what the hooked model sees, for vLLM and its like")
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in WITHOUT_PROMPT_EMBEDS])
def test_the_model_says_the_same_of_them(name, wordpiece):
    model = build(name)
    plugin = make_plugin(model)
    with plugin.attach(model, wordpiece) as (model, tokenizer), torch.no_grad():
        for text in TEXTS:
            embeds = plugin.prompt_embeds(text)
            batch = inputs(model, tokenizer, [text])
            ids = batch.pop("input_ids")
            assert embeds.shape == (ids.shape[1], model.get_input_embeddings().weight.shape[1])
            assert torch.equal(model(inputs_embeds=embeds[None], **batch).logits, model(input_ids=ids, **batch).logits)


@way(
    "serving", "prompt_embeds for a model with a second table of words (Gemma 4)", limit="that table is looked up by id"
)
def test_a_second_table_is_not_in_them(wordpiece):
    model = build("gemma4")
    with make_plugin(model).attach(model, wordpiece) as attachment, torch.no_grad():
        with pytest.raises(AttachmentError, match="Give it ids"):
            attachment.prompt_embeds(TEXTS[0])
        ids = inputs(model, attachment.tokenizer, TEXTS[:1])["input_ids"]
        assert model(input_ids=ids).logits.isfinite().all()


@way("serving", "prompt_embeds for a model that scales what it looked up (Marian, Pegasus)", limit="an error")
@pytest.mark.parametrize("name", ["marian-scaled", "pegasus"])
def test_scaled_outside_the_embeddings(name, wordpiece):
    model = build(name).train()
    modes = [module.training for module in model.modules()]
    with make_plugin(model).attach(model, wordpiece) as attachment:
        with pytest.raises(AttachmentError, match="another output"):
            attachment.prompt_embeds(TEXTS[0])
        assert [module.training for module in model.modules()] == modes


def test_one_tensor_for_each_prompt(wordpiece):
    model = build("llama")
    with make_plugin(model).attach(model, wordpiece) as attachment, pytest.raises(ValueError, match="return_tensors"):
        attachment.prompt_embeds("Paris", return_tensors="pt")


def test_several_prompts_and_options_of_the_tokenizer(wordpiece):
    model = build("llama")
    with make_plugin(model).attach(model, wordpiece) as attachment:
        embeds = attachment.prompt_embeds(TEXTS)
        assert [len(e) for e in embeds] == [len(attachment.tokenizer(text)["input_ids"]) for text in TEXTS]
        assert not any(e.requires_grad for e in embeds)
        bare = attachment.prompt_embeds("Paris", add_special_tokens=False)
        assert torch.equal(bare, attachment.prompt_embeds("Paris")[1:-1])
        given = attachment.prompt_embeds("the river", mentions=[Mention(4, 9, "geo:york")])
        row = attachment.tokenizer("York")["input_ids"][1]
        assert row >= VOCAB
        assert torch.equal(given[2], model.get_input_embeddings()(torch.tensor(row)))


def test_they_have_the_dtype_of_the_model(wordpiece):
    model = build("llama").to(torch.bfloat16)
    with make_plugin(model).attach(model, wordpiece) as attachment:
        assert attachment.prompt_embeds("Paris").dtype == torch.bfloat16


def test_the_plugin_must_be_attached_to_one_model(wordpiece):
    model, other = build("llama"), build("llama")
    plugin = make_plugin(model)
    with pytest.raises(AttachmentError, match="found 0"):
        plugin.prompt_embeds("Paris")
    with plugin.attach(model, wordpiece) as attachment, plugin.attach(other, wordpiece):
        with pytest.raises(AttachmentError, match="found 2"):
            plugin.prompt_embeds("Paris")
        assert len(attachment.prompt_embeds("Paris")) == 5
    with pytest.raises(AttachmentError, match="detached"):
        attachment.prompt_embeds("Paris")
