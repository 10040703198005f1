"""A model is run, and left in the modes that it was in."""

from __future__ import annotations

import torch

from knowledge_plugin.modes import undisturbed
from tests import tiny


def test_every_module_is_in_the_mode_that_it_was_in():
    model = tiny.classifier().train()
    model.bert.encoder.eval()
    modes = [module.training for module in model.modules()]
    with undisturbed(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()
