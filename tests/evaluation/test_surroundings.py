"""A model is left as it was, and is called what it is."""

from __future__ import annotations

import torch

from knowledge_plugin.evaluation.surroundings import name_of, undisturbed, versions
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


def test_of_a_folder_its_last_part_alone(tmp_path):
    model = tiny.classifier()
    assert name_of(model) == "BertForSequenceClassification"
    model.config._name_or_path = str(tmp_path)
    assert name_of(model) == tmp_path.name
    model.config._name_or_path = "user/name"
    assert name_of(model) == "user/name"


def test_versions():
    assert {"knowledge-plugin", "torch", "transformers"} <= versions().keys()
