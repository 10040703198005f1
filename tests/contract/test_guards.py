"""Nothing is silent: what would go wrong later is said when it can be known, with what to do."""

from __future__ import annotations

import pytest
import torch

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import AttachmentError, IncompatibleModelError, TokenizerError
from knowledge_plugin.injection.hook import find_hooks
from tests import tiny
from tests.contract.architectures import build
from tests.contract.common import TEXTS, inputs, make_plugin, way


@pytest.fixture
def model():
    return build("llama")


@way("guards", "resize_token_embeddings under an attached plugin", limit="virtual ids would become words: an error")
@pytest.mark.parametrize("name", ["llama", "t5", "gemma4", "bert-classification"])
def test_resized_embeddings(name, wordpiece):
    model = build(name)
    attachment = make_plugin(model).attach(model, wordpiece)
    batch = inputs(model, attachment.tokenizer, TEXTS)
    model.resize_token_embeddings(410, mean_resizing=False)
    with pytest.raises(AttachmentError, match="Detach, resize, then attach"):
        model(**batch)
    attachment.detach()
    assert model(**inputs(model, wordpiece, TEXTS)).logits.isfinite().all()
    with make_plugin(model).attach(model, wordpiece) as (model, tokenizer):
        assert model(**inputs(model, tokenizer, TEXTS)).logits.isfinite().all()


@way("guards", "set_input_embeddings under an attached plugin", limit="the new ones have no hook: an error")
def test_replaced_embeddings(model, wordpiece):
    attachment = make_plugin(model).attach(model, wordpiece)
    model.set_input_embeddings(torch.nn.Embedding(400, 16))
    with pytest.raises(AttachmentError, match="wrapped or replaced"):
        model(**inputs(model, attachment.tokenizer, TEXTS))
    attachment.detach()
    assert model(**inputs(model, wordpiece, TEXTS)).logits.isfinite().all()


@way("guards", "a tokenizer that is not the model's", limit="an error if the plugin knows its words, else a warning")
def test_another_tokenizer(model):
    other = tiny.tokenizer("unigram")
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base(), tiny.tokenizer("wordpiece"))
    with pytest.raises(TokenizerError, match="AutoTokenizer"):
        plugin.attach(model, other)
    assert find_hooks(model) == []
    model.config.pad_token_id, model.config.eos_token_id = 7, 8
    with pytest.warns(UserWarning, match="special tokens"):
        make_plugin(model).attach(model, other).detach()


@way("guards", "words added to the tokenizer, embeddings not resized", limit="a warning says what to call")
def test_a_tokenizer_with_more_words(model):
    tokenizer = tiny.tokenizer("wordpiece")
    tokenizer.add_tokens([f"new{i}" for i in range(300)])
    with pytest.warns(UserWarning, match="resize_token_embeddings"):
        make_plugin(model).attach(model, tokenizer).detach()


@way("guards", "a model of another embedding space", limit="an error with both names")
def test_another_space(model, wordpiece):
    plugin = make_plugin(model)
    other = build("llama")
    torch.nn.init.normal_(other.get_input_embeddings().weight)
    with pytest.raises(IncompatibleModelError, match="for_model"):
        plugin.attach(other, wordpiece)


@way("guards", "ids that no tokenizer of this plugin gave", limit="an error")
def test_ids_beyond_the_knowledge_base(model, wordpiece):
    with (
        make_plugin(model).attach(model, wordpiece),
        pytest.raises(AttachmentError, match="tokenizer of the attachment"),
    ):
        model(torch.tensor([[5, 400 + 77]]))
