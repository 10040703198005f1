from __future__ import annotations

from dataclasses import replace

import pytest

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.config import MappingConfig
from knowledge_plugin.errors import ConfigError
from knowledge_plugin.methods.kformer.config import KformerConfig
from knowledge_plugin.registry import find_method


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": []},
        {"layers": [2, 1]},
        {"layers": [1, 1]},
        {"layers": [-1]},
        {"layers": [10**6]},
        {"key_dim": 0},
        {"top": 0},
        {"top": 10**6},
        {"lookup_dim": 0},
        {"causal": "yes"},
    ],
)
def test_what_is_out_of_bounds_is_refused(wrong):
    with pytest.raises(ConfigError):
        KformerConfig(**{"layers": [0], "key_dim": 4} | wrong)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("key_dim", [3, 8])
def test_it_says_how_many_weights_there_are(model, kb, causal, key_dim):
    config = KnowledgePlugin.for_model(model, kb, method="kformer", key_dim=key_dim, layers=[0, 1]).config
    config = replace(config, injection=replace(config.injection, causal=causal))
    network = find_method("kformer").network(config)
    assert config.injection.weights(config.mapping) == sum(p.numel() for p in network.parameters())


def test_a_network_that_is_too_large_is_refused_before_it_is_made(model, kb):
    config = KnowledgePlugin.for_model(model, kb, method="kformer").config
    injection = replace(config.injection, lookup_dim=2**16)
    with pytest.raises(ConfigError, match="number of weights"):
        replace(config, mapping=MappingConfig("affine", 8, 2**16), injection=injection)


def test_a_key_is_within_the_vector(model, kb):
    with pytest.raises(ConfigError, match="key_dim"):
        KnowledgePlugin.for_model(model, kb, method="kformer", key_dim=9)
