from __future__ import annotations

import torch

from knowledge_plugin.injection.word_vectors import WordEncoder


def test_a_text_is_the_mean_of_its_word_pieces(model, tokenizer):
    encode = WordEncoder(model, tokenizer)
    ids = tokenizer("a the river", add_special_tokens=False)["input_ids"]
    first = tokenizer("a", add_special_tokens=False)["input_ids"]
    expected = model.get_input_embeddings().weight[ids[len(first) :]].mean(0)
    torch.testing.assert_close(encode(["the river", "Paris"])[0], expected.detach())


def test_an_empty_text_is_zeros(model, wordpiece):
    assert not WordEncoder(model, wordpiece)([""]).any()
