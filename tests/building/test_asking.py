"""Asking models for fields: the same alone and in a batch, and likelihoods that are the model's own."""

from __future__ import annotations

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration

from knowledge_plugin.building import Record, Template
from knowledge_plugin.building.asking import answers, likelihoods
from tests.building import models



def with_positions():
    """An encoder-decoder that counts positions from the first token on, as T5 does not."""
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(models.tokenizer()), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=64, init_std=1.0,
        pad_token_id=0, eos_token_id=1, bos_token_id=None, decoder_start_token_id=0, forced_eos_token_id=None,
    )  # fmt: skip
    return BartForConditionalGeneration(config).eval()


MODELS = {"seq2seq": models.seq2seq, "causal": models.causal, "with positions": with_positions}
RECORDS = [Record("it rains", "what happens next", "the street gets wet"), Record("snows", "why", "cold")]


@pytest.mark.parametrize("kind", MODELS)
def test_a_batch_says_what_each_says_alone(kind):
    model, tokenizer = MODELS[kind](), models.tokenizer()
    template = Template("causal" if kind == "causal" else "seq2seq")
    texts = [template.masked(record, ["inference"]) for record in RECORDS]
    options = {"max_new_tokens": 8}
    together = answers(model, tokenizer, [text.input for text in texts], template, options)
    assert together == [answers(model, tokenizer, [text.input], template, options)[0] for text in texts]
    likely = likelihoods(model, tokenizer, texts, template)
    for text, (total, count) in zip(texts, likely, strict=True):
        ((alone, same),) = likelihoods(model, tokenizer, [text], template)
        assert (total, count) == (pytest.approx(alone, abs=1e-5), same)
    assert [count for _, count in likely] == [4, 1]  # neither sentinels nor what stands before


def test_a_likelihood_is_that_of_the_continuation():
    model, tokenizer, template = models.causal(), models.tokenizer(), Template("causal")
    text = template.masked(RECORDS[0], ["inference"])
    ((total, _),) = likelihoods(model, tokenizer, [text], template)
    ids = tokenizer(text.input + text.target, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        likely = model(ids).logits[0].log_softmax(-1)
    assert total == pytest.approx(sum(likely[i - 1, ids[0, i]].item() for i in range(ids.shape[1] - 4, ids.shape[1])))


def test_what_stands_between_the_sentinels_is_the_answer(monkeypatch):
    model, tokenizer = models.seq2seq(), models.tokenizer()
    written = ["<pad> <extra_id_0> it rains <extra_id_1> next </s>", "<pad> the street </s>", "<pad> <extra_id_0> </s>"]
    ids = tokenizer(written, padding=True, return_tensors="pt")["input_ids"]
    monkeypatch.setattr(model, "generate", lambda **_: ids)
    assert answers(model, tokenizer, ["it"] * 3, Template("seq2seq"), {}) == ["it rains", "the street", ""]


def test_the_model_is_as_it_was():
    model = models.causal().train()
    answers(model, models.tokenizer(), ["it"], Template("causal"), {"max_new_tokens": 1})
    assert model.training
