"""Asking models for fields: the same alone and in a batch, and likelihoods that are the model's own."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, normalizers, processors
from tokenizers import models as bpe
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

from knowledge_plugin.building import Record, Template
from knowledge_plugin.building.asking import answers, likelihoods
from knowledge_plugin.errors import RecordError
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


def llama_like():
    """A tokenizer that puts a blank before whatever it is given, and takes blanks into words."""
    letters = sorted({letter for word in models.WORDS for letter in word} | set(":."))
    vocabulary = {token: i for i, token in enumerate(["<unk>", "</s>", "\n", "▁", *letters])}
    vocabulary |= {f"▁{letter}": len(vocabulary) + i for i, letter in enumerate(letters)}
    raw = Tokenizer(bpe.BPE(vocabulary, [("▁", letter) for letter in letters], unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", eos_token="</s>", pad_token="</s>")


def test_a_target_is_read_as_it_stands_behind_its_input():
    model, tokenizer, template = models.causal(), llama_like(), Template("causal")
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    text = template.masked(Record("it rains", inference="wet"), ["inference"])
    ids = tokenizer(text.input + text.target)["input_ids"][:-1]
    assert tokenizer.convert_ids_to_tokens(ids)[-4:] == ["▁w", "e", "t", "\n"]  # with one blank before it, not two
    with torch.no_grad():
        likely = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = sum(likely[i - 1, ids[i]].item() for i in range(len(ids) - 4, len(ids)))
    assert likelihoods(model, tokenizer, [text], template) == [(pytest.approx(expected, abs=1e-5), 4)]


@pytest.mark.parametrize("kind", ["seq2seq", "causal"])
def test_what_is_no_number_is_no_likelihood(kind):
    model, template = MODELS[kind](), Template(kind)
    with torch.no_grad():
        model.get_output_embeddings().weight[3:].fill_(torch.inf)
    texts = [template.masked(record, ["inference"]) for record in RECORDS]
    with pytest.raises(RecordError, match=r"found no number, in torch.float32. Type: model.float\(\)"):
        likelihoods(model, models.tokenizer(), texts, template)


def test_every_part_of_the_model_is_in_the_mode_that_it_was_in():
    model = models.causal().train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    answers(model, models.tokenizer(), ["it"], Template("causal"), {"max_new_tokens": 1})
    assert [module.training for module in model.modules()] == modes
