from __future__ import annotations

from dataclasses import replace

import pytest

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import ConfigError
from knowledge_plugin.methods.passage.config import PassageConfig
from tests.contract.architectures import build


@pytest.mark.parametrize("tokens", [0, -1, 65, 10**9])
def test_a_number_of_tokens_out_of_bounds_is_refused(tokens):
    with pytest.raises(ConfigError, match="tokens"):
        PassageConfig(tokens=tokens)


@pytest.mark.parametrize("mapping", ["mlp", "affine"])
def test_it_says_how_many_weights_there_are(kb, mapping):
    plugin = KnowledgePlugin.for_model(build("llama"), kb, method="passage", tokens=2, mapping=mapping)
    assert plugin.config.injection.weights(plugin.config.mapping) == sum(p.numel() for p in plugin.mapping.parameters())


def test_the_mapping_leads_to_as_many_tokens(kb):
    config = KnowledgePlugin.for_model(build("llama"), kb, method="passage", tokens=2).config
    with pytest.raises(ConfigError, match="3 tokens"):
        replace(config, injection=PassageConfig(tokens=3))
