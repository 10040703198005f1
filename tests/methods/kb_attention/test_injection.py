from __future__ import annotations

import pytest
import torch

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import ConfigError, MappingError
from tests.contract.architectures import build


def test_every_third_layer_is_the_default(kb):
    assert KnowledgePlugin.for_model(build("llama"), kb, method="kb-attention").config.injection.layers == [0]
    assert KnowledgePlugin.for_model(build("llama"), kb, method="kb-attention", every=1).config.injection.layers == [
        0,
        1,
    ]


@pytest.mark.parametrize("every", [0, -1])
def test_no_fewer_than_every_layer(kb, every):
    with pytest.raises(MappingError, match="every"):
        KnowledgePlugin.for_model(build("llama"), kb, method="kb-attention", every=every)


@pytest.mark.parametrize("wrong", [{"every": "2"}, {"scale": "wide"}, {"scale": True}, {"key_dim": 0}])
def test_settings_of_another_type_or_out_of_bounds_are_refused(kb, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        KnowledgePlugin.for_model(build("llama"), kb, method="kb-attention", **wrong)


@torch.no_grad()
def test_keys_are_normed_and_values_are_not(kb):
    network = KnowledgePlugin.for_model(build("llama"), kb, method="kb-attention", key_dim=3, every=1).mapping
    vectors = torch.randn(7, 8)
    for number, (keys, values) in enumerate(network.entries(vectors)):
        assert keys.shape == values.shape == (2, 7, 8)
        flat = keys.transpose(0, 1).flatten(1)
        torch.testing.assert_close(flat.mean(1), torch.zeros(7), atol=1e-5, rtol=0)
        torch.testing.assert_close(flat.var(1, unbiased=False), torch.ones(7), atol=1e-2, rtol=0)
        expected = network.value_layers[number](vectors[:, 3:])
        torch.testing.assert_close(values.transpose(0, 1).flatten(1), expected)
