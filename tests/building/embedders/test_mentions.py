from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from knowledge_plugin import Mention
from knowledge_plugin.building.embedders import MentionEmbedder
from knowledge_plugin.errors import KnowledgeBaseError
from tests import tiny
from tests.building.embedders.common import source_of

SENTENCES = [
    ("a train to Paris", [Mention(11, 16, "x:1", 1.0)]),
    ("Paris and Rome", [Mention(0, 5, "x:1", 1.0), Mention(10, 14, "x:3", 1.0)]),
    ("a train to Oslo", [Mention(11, 15, "x:unknown", 1.0)]),
]


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=400, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    return BertForMaskedLM(config).eval()


def one_by_one(model, tokenizer, texts):
    """PELT, said slowly: the output of the head's transform at the mask, summed and brought to a length."""
    total = torch.zeros(16)
    for text in texts:
        encoded = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            hidden = model.cls.predictions.transform(model.bert(**encoded).last_hidden_state)
        total += hidden[encoded["input_ids"] == tokenizer.mask_token_id][0]
    length = model.get_input_embeddings().weight.detach().norm(dim=1).mean()
    return (length * total / total.norm()).numpy()


def test_the_outputs_at_masks_are_summed(model, tmp_path):
    tokenizer = tiny.tokenizer("wordpiece")
    found = MentionEmbedder(model, tokenizer, SENTENCES, batch_size=2)(source_of(tmp_path))
    mask = tokenizer.mask_token
    expected = {
        "x:1": one_by_one(model, tokenizer, [f"a train to {mask}", f"{mask} and Rome"]),
        "x:3": one_by_one(model, tokenizer, [f"Paris and {mask}"]),
    }
    assert list(found.ids) == list(expected)
    assert np.allclose(found.vectors, np.stack(list(expected.values())), atol=1e-5)
    assert found.measures == {"sentences for each entity": 1.5}


def test_no_more_sentences_than_asked_for(model, tmp_path):
    tokenizer = tiny.tokenizer("wordpiece")
    found = MentionEmbedder(model, tokenizer, SENTENCES, max_sentences=1)(source_of(tmp_path))
    assert np.allclose(
        found.vectors[0], one_by_one(model, tokenizer, [f"a train to {tokenizer.mask_token}"]), atol=1e-5
    )


def test_the_model_is_as_it_was(model, tmp_path):
    model.train()
    MentionEmbedder(model, tiny.tokenizer("wordpiece"), SENTENCES)(source_of(tmp_path))
    assert model.training
    assert not model.get_output_embeddings()._forward_pre_hooks


def test_a_mask_that_was_cut_off_is_not_used(model, tmp_path):
    long = ("a train " * 40 + "Paris", [Mention(320, 325, "x:1", 1.0)])
    with pytest.raises(KnowledgeBaseError, match="no sentence mentions an entity"):
        MentionEmbedder(model, tiny.tokenizer("wordpiece"), [long], max_length=16)(source_of(tmp_path))


def test_what_is_no_masked_language_model(tmp_path):
    with pytest.raises(KnowledgeBaseError, match="expected a masked language model"):
        MentionEmbedder(tiny.classifier(), tiny.tokenizer("wordpiece"), SENTENCES)(source_of(tmp_path))
