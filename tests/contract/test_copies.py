"""Copies of models and tokenizers, saving while attached, and threads."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import torch
from transformers import AutoTokenizer

from knowledge_plugin import KnowledgePlugin
from tests.contract.architectures import build
from tests.contract.common import PLAIN, TEXTS, fingerprint, inputs, make_plugin, way


@way("copies", "pickling model and tokenizer")
def test_pickling(wordpiece, tmp_path):
    model = build("gemma3")
    make_plugin(model).save_pretrained(tmp_path)
    with KnowledgePlugin.from_pretrained(tmp_path).attach(model, wordpiece) as (model, tokenizer), torch.no_grad():
        data = pickle.dumps((model, tokenizer))
        other_model, other_tokenizer = pickle.loads(data)
        batch = inputs(model, tokenizer, TEXTS)
        other = inputs(other_model, other_tokenizer, TEXTS)
        assert torch.equal(batch["input_ids"], other["input_ids"])
        assert torch.equal(other_model(**other).logits, model(**batch).logits)


@way("copies", "deepcopy of a model (shares the plugin)")
def test_deepcopy(wordpiece):
    model = build("gemma3")
    with make_plugin(model).attach(model, wordpiece) as (model, tokenizer), torch.no_grad():
        copied = copy.deepcopy(model)
        batch = inputs(model, tokenizer, TEXTS)
        assert torch.equal(copied(**batch).logits, model(**batch).logits)
        generated = copied.generate(input_ids=batch["input_ids"][:1], max_new_tokens=3, do_sample=False)
    assert generated.shape[1] > batch["input_ids"].shape[1]


def test_what_is_attached_to_a_copy_is_nothing_to_the_original(wordpiece):
    model = build("llama")
    first = make_plugin(model).attach(model, wordpiece)
    copied = copy.deepcopy(model)
    second = make_plugin(copied, seed=5).attach(copied, wordpiece)
    ids = first.tokenizer("the river near Berlin")["input_ids"]
    assert not any(i in second.source.ids for i in ids)
    assert any(i in first.source.ids for i in second.tokenizer("the river near Berlin")["input_ids"])
    with torch.no_grad():
        model(input_ids=torch.tensor([ids]))


@way("copies", "save_pretrained while attached: the checkpoint alone")
def test_saving_the_model_saves_the_checkpoint(wordpiece, tmp_path):
    model = build("bert-classification")
    before = fingerprint(model)
    with make_plugin(model).attach(model, wordpiece) as (model, tokenizer):
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    assert fingerprint(loaded)["weights"] == before["weights"]
    plain = AutoTokenizer.from_pretrained(tmp_path)
    assert plain(TEXTS)["input_ids"] == wordpiece(TEXTS)["input_ids"]


@way("copies", "8 threads on one model")
def test_threads(wordpiece):
    model = build("llama")
    with make_plugin(model).attach(model, wordpiece) as (model, tokenizer):
        texts = [text for text in (*TEXTS, *PLAIN) for _ in range(8)]

        def run(text: str) -> torch.Tensor:
            with torch.no_grad():
                return model(**inputs(model, tokenizer, [text])).logits

        expected = [run(text) for text in texts]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(run, texts))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
