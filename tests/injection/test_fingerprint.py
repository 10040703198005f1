from __future__ import annotations

import dataclasses

import pytest
import torch

from knowledge_plugin.config import FingerprintConfig
from knowledge_plugin.errors import ConfigError
from knowledge_plugin.injection.fingerprint import compare, describe_base_model
from tests import tiny


@pytest.fixture
def recorded(model):
    return describe_base_model(model)


def test_the_model_itself_is_the_same_space(model, recorded):
    assert compare(recorded, model).verdict == "same"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_copy_of_lower_precision_is_the_same_space(model, recorded, dtype):
    assert compare(recorded, model.to(dtype)).verdict == "same"


def test_another_head_on_the_same_embeddings_is_the_same_space(recorded):
    assert compare(recorded, tiny.classifier(labels=7)).verdict == "same"


def test_a_fine_tuned_model_is_a_descendant(model, recorded):
    weight = model.get_input_embeddings().weight
    with torch.no_grad():
        weight += 0.3 * weight.std() * torch.randn_like(weight)
    assert compare(recorded, model).verdict == "descendant"


def test_an_enlarged_vocabulary_changes_nothing(model, recorded):
    model.resize_token_embeddings(420, mean_resizing=False)
    assert compare(recorded, model).verdict == "same"


def test_a_model_trained_apart_is_different(recorded):
    other = tiny.classifier(seed=1)
    comparison = compare(recorded, other)
    assert comparison.verdict == "different"
    assert "cosine" in comparison.reason


def test_another_width_is_different(recorded):
    from tests.contract.architectures import build

    assert "wide" in compare(recorded, build("electra")).reason


def test_a_much_smaller_vocabulary_is_different(recorded):
    assert "vocabulary" in compare(recorded, tiny.classifier(vocab_size=100)).reason


def test_rows_of_zero_say_nothing_and_are_left_out(model):
    with torch.no_grad():
        model.get_input_embeddings().weight[:40] = 0
    assert min(describe_base_model(model).fingerprint.token_ids) >= 40


def test_a_path_of_this_machine_is_no_name(model):
    model.config._name_or_path = "/home/someone/model"
    assert describe_base_model(model).name is None
    model.config._name_or_path = "user/model"
    assert describe_base_model(model).name == "user/model"


@pytest.mark.parametrize("vectors", ["no base64!", "AAAA", ""])
def test_a_damaged_fingerprint_is_refused(model, recorded, vectors):
    damaged = dataclasses.replace(recorded, fingerprint=FingerprintConfig(recorded.fingerprint.token_ids, vectors))
    with pytest.raises(ConfigError, match="fingerprint"):
        compare(damaged, model)
