"""Scores of spans, held against sums that are made otherwise: one text at a time, without padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from knowledge_plugin.errors import EvaluationError
from knowledge_plugin.evaluation.propagation import Filled, SpanScorer, spans
from knowledge_plugin.linking.mention import Mention
from tests import tiny

# Spans of several tokens, at several places, in contexts of several lengths.
TEXTS = [
    Filled("the museum in paris", "opened last spring", " and the mayor came"),
    Filled("a train from", "berlin", " stops.", "the river is wide "),
    Filled("she moved to the", "harbour", "", "Vienna is a town. It is old. "),
]


def gpt(tokenizer):
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=64)).eval()


def bert(tokenizer):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    return BertForMaskedLM(config).eval()


def t5(tokenizer):
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, decoder_start_token_id=0,
    )  # fmt: skip
    return T5ForConditionalGeneration(config).eval()


@pytest.fixture(scope="module")
def with_sentinels():
    tokenizer = tiny.tokenizer("unigram")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<extra_id_0>", "<extra_id_1>"]})
    return tokenizer


def text_of(filled):
    return f"{filled.context}{filled.before} {filled.span}{filled.after}"


def places_of(filled, tokenizer):
    start = len(filled.context) + len(filled.before) + 1
    encoded = tokenizer(text_of(filled), return_offsets_mapping=True)
    end = start + len(filled.span)
    places = [i for i, (a, b) in enumerate(encoded["offset_mapping"]) if b > a and a < end and b > start]
    return encoded["input_ids"], places


@pytest.mark.parametrize("family", ["byte_bpe", "wordpiece"])
def test_a_decoder_counts_the_tokens_of_the_span_alone(family):
    tokenizer = tiny.tokenizer(family)
    model = gpt(tokenizer)
    scores = SpanScorer(model, tokenizer, batch_size=2)(TEXTS)
    for filled, log_prob, tokens in zip(TEXTS, scores.log_prob, scores.tokens, strict=True):
        ids, places = places_of(filled, tokenizer)
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = sum(float(logits[i - 1, ids[i]]) for i in places)
        assert log_prob == pytest.approx(expected, abs=1e-4)
        assert tokens == len(places)


@pytest.mark.parametrize(("family", "span", "count"), [("unigram", "99", 3), ("byte_bpe", "東", 4)])
def test_a_blank_that_is_a_token_of_its_own_counts(family, span, count):
    tokenizer = tiny.tokenizer(family)
    model = gpt(tokenizer)
    for context in ("", "the river "):
        scores = SpanScorer(model, tokenizer)([Filled("a train to", span, "", context)])
        ids, before = (tokenizer(context + text)["input_ids"][:-1] for text in (f"a train to {span}", "a train to"))
        assert ids[: len(before)] == before
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = sum(float(logits[i - 1, ids[i]]) for i in range(len(before), len(ids)))
        assert scores.log_prob[0] == pytest.approx(expected, abs=1e-4)
        assert scores.tokens.tolist() == [count]


def test_what_stands_behind_the_blank_is_nothing_to_a_decoder():
    tokenizer = tiny.tokenizer("byte_bpe")
    scorer = SpanScorer(gpt(tokenizer), tokenizer)
    one, other = (Filled("a train to", "paris", after) for after in (" and the mayor", " (Vienna) 1 2 3"))
    scores = scorer([one, other]).log_prob
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_a_masked_model_fills_a_span_from_left_to_right():
    tokenizer = tiny.tokenizer("wordpiece")
    model = bert(tokenizer)
    scores = SpanScorer(model, tokenizer, batch_size=3)(TEXTS)
    for filled, log_prob, tokens in zip(TEXTS, scores.log_prob, scores.tokens, strict=True):
        ids, places = places_of(filled, tokenizer)
        expected, filled_in = 0.0, list(ids)
        for place in places:
            filled_in[place] = tokenizer.mask_token_id
        for place in places:
            with torch.no_grad():
                logits = model(torch.tensor([filled_in])).logits[0, place].log_softmax(-1)
            expected += float(logits[ids[place]])
            filled_in[place] = ids[place]
        assert log_prob == pytest.approx(expected, abs=1e-4)
        assert tokens == len(places)


def test_the_probabilities_of_all_spans_of_a_length_add_up_to_one():
    tokenizer = tiny.tokenizer("wordpiece")
    scorer = SpanScorer(bert(tokenizer), tokenizer, batch_size=500)
    words = [w for w in tokenizer.get_vocab() if w.isalpha() and w.islower() and len(tokenizer.tokenize(w)) == 1]
    found = scorer([Filled("a train to", word, " stops") for word in words])
    assert set(found.tokens) == {1}
    assert 0 < np.exp(found.log_prob).sum() < 1


def test_a_model_like_t5_writes_the_span_between_sentinels(with_sentinels):
    model = t5(with_sentinels)
    scores = SpanScorer(model, with_sentinels, batch_size=2)(TEXTS)
    for filled, log_prob, tokens in zip(TEXTS, scores.log_prob, scores.tokens, strict=True):
        source = f"{filled.context}{filled.before} <extra_id_0>{filled.after}"
        target = with_sentinels(f"<extra_id_0> {filled.span} <extra_id_1>", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(**with_sentinels(source, return_tensors="pt"), labels=target).logits[0].log_softmax(-1)
        places = range(1, target.shape[1] - 2)  # neither the sentinels nor the end
        assert log_prob == pytest.approx(sum(float(logits[i, target[0, i]]) for i in places), abs=1e-4)
        assert tokens == len(places)


@pytest.mark.parametrize("make", [gpt, bert])
def test_a_context_that_does_not_fit_is_cut_and_the_sentence_is_not(make):
    tokenizer = tiny.tokenizer("wordpiece")
    scorer = SpanScorer(make(tokenizer), tokenizer, max_length=20)
    long = Filled("a train from", "berlin", " stops", "the river is wide " * 10)
    found = scorer([long, long._replace(context="")])
    assert found.cut == 1
    assert found.tokens.tolist() == [1, 1]
    with pytest.raises(EvaluationError, match="expected at most 20"):
        scorer([Filled("1 2 3 4 5 6 7 8 9 0 a b c d e f g h", "berlin", " stops")])


@pytest.mark.parametrize("sign", ["😀", "東。", "é"])
def test_a_context_may_end_in_a_character_of_several_tokens(sign):
    tokenizer = tiny.tokenizer("byte_bpe")
    scorer = SpanScorer(gpt(tokenizer), tokenizer, max_length=20)
    found = [scorer([Filled("a train to", "paris", " .", f"{'x ' * length}{sign} ")]) for length in range(16)]
    assert {int(each.tokens[0]) for each in found} == {1}
    assert [each.cut for each in found] == sorted(each.cut for each in found)
    assert (found[0].cut, found[-1].cut) == (0, 1)


def test_a_blank_that_comes_first_is_refused_by_a_decoder_alone():
    tokenizer = tiny.tokenizer("unigram")  # whose texts begin with no token of their own
    first = Filled("", "paris", " is a town")
    with pytest.raises(EvaluationError, match="nothing stands before it"):
        SpanScorer(gpt(tokenizer), tokenizer)([first])
    words = tiny.tokenizer("wordpiece")
    assert SpanScorer(bert(words), words)([first]).tokens.tolist() == [1]


def test_a_model_that_gives_no_numbers_is_not_one_that_is_wrong():
    tokenizer = tiny.tokenizer("wordpiece")
    model = gpt(tokenizer)
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(torch.nan)
    with pytest.raises(EvaluationError, match=r"found NaN, in 3 of 3 texts.* Type: model.float\(\)"):
        SpanScorer(model, tokenizer)(TEXTS)


def test_many_texts_are_scored_as_few(monkeypatch):
    tokenizer = tiny.tokenizer("wordpiece")
    scorer = SpanScorer(bert(tokenizer), tokenizer)
    together = scorer(TEXTS)
    monkeypatch.setattr(spans, "_AT_A_TIME", 2)
    apart = scorer(TEXTS)
    assert apart.log_prob == pytest.approx(together.log_prob, abs=1e-4)
    assert apart.tokens.tolist() == together.tokens.tolist()


def test_mentions_on_both_sides_of_a_blank_stand_where_they_stood():
    tokenizer = tiny.tokenizer("wordpiece")
    sentence = Filled("Paris and", "the harbour", " of Berlin", "It is old. ", ((0, 5), (13, 19)))
    sentence = sentence._replace(mentions=tuple(Mention(*place, "x") for place in sentence.mentions))
    seen = []

    def recording(texts, mentions, **options):
        seen.extend(text[m.start : m.end] for text, found in zip(texts, mentions, strict=True) for m in found)
        return tokenizer(texts, **options)

    SpanScorer(bert(tokenizer), tokenizer)([sentence, sentence._replace(context="")], recording)
    assert seen == ["Paris", "Berlin"] * 2


def test_models_and_tokenizers_that_will_not_do(with_sentinels):
    words, no_mask = tiny.tokenizer("wordpiece"), tiny.tokenizer("unigram")
    with pytest.raises(EvaluationError, match="expected a language model"):
        SpanScorer(BertForSequenceClassification(bert(words).config), words)
    with pytest.raises(EvaluationError, match="expected a tokenizer with a mask token"):
        SpanScorer(bert(no_mask), no_mask)
    with pytest.raises(EvaluationError, match="'<extra_id_0>' in the tokenizer's vocabulary"):
        SpanScorer(t5(words), words)
    assert SpanScorer(t5(with_sentinels), with_sentinels).kind == "seq2seq"
