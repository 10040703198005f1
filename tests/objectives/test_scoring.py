from __future__ import annotations

import pytest
import torch
import transformers as t

from knowledge_plugin.objectives.scoring import NoLoss, ScoredLoss
from tests.contract import architectures
from tests.contract.architectures import _DEBERTA, _DISTILBERT, _MODERNBERT, ENCODER

MASKED = {
    "bert": lambda: t.BertForMaskedLM(t.BertConfig(**ENCODER)),
    "roberta": lambda: t.RobertaForMaskedLM(t.RobertaConfig(**ENCODER)),
    "xlm-roberta": lambda: t.XLMRobertaForMaskedLM(t.XLMRobertaConfig(**ENCODER)),
    "distilbert": lambda: t.DistilBertForMaskedLM(t.DistilBertConfig(**_DISTILBERT)),
    "electra": lambda: t.ElectraForMaskedLM(t.ElectraConfig(**ENCODER, embedding_size=12)),
    "albert": lambda: t.AlbertForMaskedLM(t.AlbertConfig(**ENCODER, embedding_size=12)),
    "mpnet": lambda: t.MPNetForMaskedLM(t.MPNetConfig(**ENCODER)),
    "deberta-v2": lambda: t.DebertaV2ForMaskedLM(t.DebertaV2Config(**ENCODER | _DEBERTA)),
    "deberta-v2-new-head": lambda: t.DebertaV2ForMaskedLM(t.DebertaV2Config(**ENCODER | _DEBERTA, legacy=False)),
    "modernbert": lambda: t.ModernBertForMaskedLM(t.ModernBertConfig(**_MODERNBERT)),
}
CAUSAL = ["gpt2", "llama", "qwen3", "gemma2", "gemma3", "opt-projected", "granite", "mamba", "minicpm3", "gpt-neox"]


@pytest.fixture
def labels():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 400, (4, 12), generator=generator)
    return ids, torch.where(torch.rand(4, 12, generator=generator) < 0.3, ids, -100)


def both_losses(model, shift, ids, labels):
    loss = ScoredLoss(shift)
    with torch.no_grad():
        with loss.scoring(model, labels):
            outputs = model(input_ids=ids)
        return loss(outputs, labels), model(input_ids=ids, labels=labels).loss, outputs.logits


@pytest.mark.parametrize("name", MASKED)
def test_equals_the_loss_of_a_masked_language_model(name, labels):
    torch.manual_seed(0)
    ours, theirs, _ = both_losses(MASKED[name]().eval(), 0, *labels)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CAUSAL)
def test_equals_the_loss_of_a_decoder(name, labels):
    ours, theirs, _ = both_losses(architectures.build(name), 1, *labels)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "shift"), [("bert", 0), ("roberta", 0), ("gpt2", 1), ("gemma2", 1)])
def test_the_vocabulary_is_asked_at_scored_places_only(name, shift, labels):
    model = MASKED[name]().eval() if name in MASKED else architectures.build(name)
    _, _, logits = both_losses(model, shift, *labels)
    assert logits.shape == (int((labels[1][:, shift:] != -100).sum()), 400)


def test_afterwards_the_model_is_as_it_was(labels):
    model, (ids, wanted) = MASKED["bert"]().eval(), labels
    before = model(ids).logits
    with ScoredLoss(0).scoring(model, wanted), pytest.raises(ZeroDivisionError):
        raise ZeroDivisionError
    assert torch.equal(model(ids).logits, before)


def test_a_batch_that_scores_nothing_costs_nothing(labels):
    model, ids = MASKED["bert"]().train(), labels[0]
    loss, wanted = ScoredLoss(0), torch.full_like(ids, -100)
    with loss.scoring(model, wanted):
        value = loss(model(input_ids=ids), wanted)
    value.backward()
    assert value.item() == 0.0
    assert not any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_the_sum_over_what_is_accumulated(labels):
    model, (ids, wanted) = MASKED["bert"]().eval(), labels
    loss = ScoredLoss(0)
    with loss.scoring(model, wanted):
        outputs = model(input_ids=ids)
    n = int((wanted != -100).sum())
    torch.testing.assert_close(loss(outputs, wanted, num_items_in_batch=2 * n), loss(outputs, wanted) / 2)


def test_the_output_layer_is_asked_nothing(wordpiece):
    model = architectures.build("bert-masked-lm")
    batch = wordpiece(["she saw berlin"], return_tensors="pt")
    with NoLoss().scoring(model, torch.zeros(1, 1)):
        assert model(**batch).logits.shape[1] == 0
    assert model(**batch).logits.shape[1] > 0
    with NoLoss().scoring(model.bert, torch.zeros(1, 1)):  # has none
        model.bert(**batch)
