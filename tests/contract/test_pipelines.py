"""transformers' pipelines: with the plugin what the enlarged model gives, and after detaching what the base gave."""

from __future__ import annotations

import pytest
import torch
import transformers as t
from transformers import pipeline

from tests import tiny
from tests.contract.architectures import DECODER, ENCODER, VOCAB
from tests.contract.common import enlarge, make_plugin, way

TEXT = "The mayor of New York came to Paris."
LABELS = {"id2label": {0: "O", 1: "B-X", 2: "I-X"}, "label2id": {"O": 0, "B-X": 1, "I-X": 2}}
NLI = {"id2label": {0: "entailment", 1: "contradiction"}, "label2id": {"entailment": 0, "contradiction": 1}}


def models(task: str):
    torch.manual_seed(3)
    encoder = t.BertConfig(**ENCODER | {"vocab_size": VOCAB}, **(NLI if task == "zero-shot-classification" else LABELS))
    model = {
        "text-classification": t.BertForSequenceClassification,
        "token-classification": t.BertForTokenClassification,
        "fill-mask": t.BertForMaskedLM,
        "feature-extraction": t.BertModel,
        "zero-shot-classification": t.BertForSequenceClassification,
    }[task](encoder).eval()
    if hasattr(model, "classifier"):
        torch.nn.init.normal_(model.classifier.weight)  # so that what it reads is felt in what it says
    return model


def check(task, model, tokenizer, *args, **kwargs):
    """Run the pipeline on base, attached, enlarged and detached model, and return what the attached one gave."""
    plain = pipeline(task, model=model, tokenizer=tokenizer)(*args, **kwargs)
    plugin = make_plugin(model, strength=1.0)
    enlarged = enlarge(model, plugin)
    with plugin.attach(model, tokenizer) as attachment:
        model, linking = attachment
        found = pipeline(task, model=model, tokenizer=linking)(*args, **kwargs)
        assert attachment.mentions_linked > 0
        assert found == pipeline(task, model=enlarged, tokenizer=linking)(*args, **kwargs)
        assert found != plain or task == "text-generation"  # a tiny model may well write the same
    assert pipeline(task, model=model, tokenizer=tokenizer)(*args, **kwargs) == plain
    return found


@way("pipeline", "text-classification")
def test_text_classification(wordpiece):
    check("text-classification", models("text-classification"), wordpiece, [TEXT, "nothing here"], batch_size=2)


@way("pipeline", "feature-extraction")
def test_feature_extraction(wordpiece):
    check("feature-extraction", models("feature-extraction"), wordpiece, TEXT)


@way("pipeline", "zero-shot-classification")
def test_zero_shot(wordpiece):
    check("zero-shot-classification", models("zero-shot-classification"), wordpiece, TEXT, ["town", "river"])


@way("pipeline", "fill-mask")
def test_fill_mask(wordpiece):
    found = check("fill-mask", models("fill-mask"), wordpiece, "The mayor of Paris came to [MASK].")
    assert all("<" not in guess["sequence"] and "/" not in guess["sequence"] for guess in found)


@way("pipeline", "fill-mask with targets")
def test_fill_mask_with_targets(wordpiece):
    model = models("fill-mask")
    ask = {"text": "The mayor of Paris came to [MASK].", "targets": ["Berlin", "river"]}
    plain = t.pipeline("fill-mask", model=model, tokenizer=wordpiece)(ask["text"], targets=ask["targets"])
    with make_plugin(model).attach(model, wordpiece) as (model, tokenizer):
        found = t.pipeline("fill-mask", model=model, tokenizer=tokenizer)(ask["text"], targets=ask["targets"])
    assert {guess["token_str"] for guess in found} == {guess["token_str"] for guess in plain}


@way("pipeline", "token-classification, with offsets of the text")
@pytest.mark.parametrize("strategy", ["none", "simple", "first", "max"])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_token_classification(family, strategy):
    tokenizer, model = tiny.tokenizer(family), models("token-classification")
    found = check("token-classification", model, tokenizer, TEXT, aggregation_strategy=strategy)
    assert found
    for span in found:
        assert "<" not in span["word"]
        assert "/" not in span["word"]
        if strategy == "simple" and family == "byte_bpe":
            assert span["word"].strip() == TEXT[span["start"] : span["end"]].strip()


CHAT = """{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}
{%- if add_generation_prompt %}reply : {% endif %}"""


@way("pipeline", "text-generation")
@way("pipeline", "text-generation with a chat template")
@pytest.mark.parametrize("chat", [False, True])
def test_text_generation(chat, wordpiece):
    torch.manual_seed(3)
    model = t.LlamaForCausalLM(t.LlamaConfig(**DECODER | {"vocab_size": 300})).eval()
    tokenizer = tiny.tokenizer("wordpiece")
    tokenizer.chat_template = CHAT
    prompt = [{"role": "user", "content": "who is the mayor of Paris ?"}] if chat else "The mayor of Paris"
    found = check(
        "text-generation", model, tokenizer, prompt, max_new_tokens=6, do_sample=False, return_full_text=False
    )
    assert found[0]["generated_text"]
