from __future__ import annotations

import pytest

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import ConfigError
from knowledge_plugin.methods.kb_attention.config import KBAttentionConfig
from tests.contract.architectures import build


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": []},
        {"layers": [1, 0]},
        {"heads": 0},
        {"head_dim": 10**6},
        {"top": 0},
        {"scale": 0.0},
        {"scale": -1.0},
        {"scale": "wide"},
    ],
)
def test_what_is_out_of_bounds_is_refused(wrong):
    with pytest.raises(ConfigError):
        KBAttentionConfig(**{"layers": [0], "key_dim": 4} | wrong)


@pytest.mark.parametrize("key_dim", [3, 8])
def test_it_says_how_many_weights_there_are(kb, key_dim):
    plugin = KnowledgePlugin.for_model(build("llama"), kb, method="kb-attention", key_dim=key_dim, every=1)
    config = plugin.config
    assert config.injection.weights(config.mapping) == sum(p.numel() for p in plugin.mapping.parameters())
