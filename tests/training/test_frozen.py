from __future__ import annotations

import pytest
import torch
from torch import nn

from knowledge_plugin.training.frozen import config_kept, frozen


def state(model):
    """All that freezing may touch."""
    return (
        [p.requires_grad for p in model.parameters()],
        [m.training for m in model.modules()],
        [m.p for m in model.modules() if isinstance(m, nn.Dropout)],
    )


@pytest.fixture
def mixed(model):
    """A model part of which is frozen already and part of which is in train mode."""
    model.classifier.weight.requires_grad_(False)
    model.bert.encoder.layer[0].train()
    return model


def test_no_parameter_learns_within(mixed):
    with frozen(mixed):
        assert not any(p.requires_grad for p in mixed.parameters())


@pytest.mark.parametrize("dropout", [None, 0.0, 0.5])
def test_everything_is_as_it_was(mixed, dropout):
    before = state(mixed)
    with frozen(mixed, dropout):
        mixed.train()
    assert state(mixed) == before


def test_everything_is_as_it_was_after_an_error(mixed):
    before = state(mixed)
    with pytest.raises(KeyboardInterrupt), frozen(mixed, 0.5):
        mixed.train()
        raise KeyboardInterrupt
    assert state(mixed) == before


def test_the_dropout_within(model):
    with frozen(model, 0.25):
        assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.25}


@pytest.mark.parametrize(("dropout", "differs"), [(0.0, False), (0.5, True)])
def test_the_dropout_is_at_work(model, dropout, differs):
    ids = torch.arange(10)[None]
    with frozen(model, dropout), torch.no_grad():
        model.train()
        assert torch.equal(model(ids).logits, model(ids).logits) != differs


def test_dropout_that_attention_is_called_with():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention_dropout = 0.1
            self.dropout_rate = 1  # a whole number is no probability that was set

    attention = Attention()
    with frozen(attention, 0.4):
        assert attention.attention_dropout == 0.4
    assert attention.attention_dropout == 0.1


def test_an_unfrozen_child_of_a_frozen_model_may_learn(model):
    with frozen(model):
        child = nn.Linear(2, 2)
        model.add_module("child", child)
        assert child.weight.requires_grad
        del model.child


def test_the_config_is_as_it_was(model):
    before = model.config.to_dict()
    with config_kept(model):
        model.config.use_cache = not model.config.use_cache
        model.config.problem_type = "regression"
    assert model.config.to_dict() == before


def test_a_model_may_have_no_config():
    with config_kept(nn.Linear(2, 2)):
        pass
