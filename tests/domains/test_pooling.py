"""Features of texts."""

from __future__ import annotations

import pytest
import torch

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.domains import pooled_features
from knowledge_plugin.errors import TrainingError
from tests import tiny

TEXTS = ["a train from berlin", "the museum in paris opened last spring", "paris"]


def test_it_is_the_mean_of_the_tokens_whatever_is_beside_it(wordpiece):
    encoder = tiny.classifier().bert
    found = pooled_features(encoder, wordpiece, TEXTS)
    for text, features in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            states = encoder(**wordpiece(text, return_tensors="pt")).last_hidden_state[0]
        assert torch.allclose(features, states.mean(0), atol=1e-5)
    assert torch.allclose(pooled_features(encoder, wordpiece, TEXTS, batch_size=1), found, atol=1e-5)
    assert pooled_features(encoder, wordpiece, []).shape == (0, 0)


def test_what_plugins_know_is_in_it(wordpiece):
    encoder = tiny.classifier().bert
    plain = pooled_features(encoder, wordpiece, TEXTS)
    plugin = KnowledgePlugin.for_model(encoder, tiny.knowledge_base())
    with plugin.attach(encoder, wordpiece) as (model, tokenizer):
        known = pooled_features(model, tokenizer, TEXTS)
    assert not torch.allclose(known, plain)
    assert torch.equal(pooled_features(encoder, wordpiece, TEXTS), plain)


def test_an_encoder_that_was_left_in_training_is_read_without_dropout(wordpiece):
    encoder = tiny.classifier().bert
    expected = pooled_features(encoder, wordpiece, TEXTS)
    encoder.train()
    encoder.pooler.eval()
    found = pooled_features(encoder, wordpiece, TEXTS)
    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert encoder.training
    assert not encoder.pooler.training


def test_wrong_use_is_refused(wordpiece):
    model = tiny.classifier()
    with pytest.raises(TrainingError, match="found one text"):
        pooled_features(model.bert, wordpiece, "paris " * 30)
    with pytest.raises(TrainingError, match="batch_size: expected a number from 1 up, found 0"):
        pooled_features(model.bert, wordpiece, TEXTS, batch_size=0)
    with pytest.raises(TrainingError, match="without a head, found BertForSequenceClassification"):
        pooled_features(model, wordpiece, TEXTS)
