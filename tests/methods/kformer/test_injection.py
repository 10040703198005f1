from __future__ import annotations

import torch
from torch.nn import functional

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.injection.lookup import Found


def test_entries_are_keys_and_values_of_the_feed_forward(model, kb):
    """Kformer, section 3: the same as a feed-forward whose matrices have rows more."""
    network = KnowledgePlugin.for_model(model, kb, method="kformer", key_dim=3, layers=[0, 1]).mapping
    with torch.no_grad():
        network.values[1].weight.normal_()
    hidden, vectors = torch.randn(2, 4, 16), torch.randn(2, 1, 5, 8)
    first, second = torch.randn(16, 32), torch.randn(32, 16)
    term = network(1, hidden, Found(vectors, torch.zeros(2, 1, 5)))
    for i in range(2):
        keys, values = network.keys[1](vectors[i, 0, :, :3]), network.values[1](vectors[i, 0, :, 3:])
        wider = functional.gelu(hidden[i] @ torch.cat([first, keys.T], 1)) @ torch.cat([second, values])
        narrow = functional.gelu(hidden[i] @ first) @ second
        torch.testing.assert_close(wider - narrow, term[i], atol=1e-4, rtol=1e-4)


def test_by_default_it_takes_the_last_layers(model, kb):
    assert KnowledgePlugin.for_model(model, kb, method="kformer").config.injection.layers == [0, 1]
