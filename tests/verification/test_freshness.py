from __future__ import annotations

import pytest
import torch

from knowledge_plugin.config import MappingConfig
from knowledge_plugin.injection.mapping import MappingNetwork
from knowledge_plugin.injection.network import Network
from knowledge_plugin.verification.freshness import looks_untrained

SHAPES = [
    MappingConfig("affine", 8, 16),
    MappingConfig("affine", 384, 384),
    MappingConfig("mlp", 8, 16, 512),
    MappingConfig("mlp", 128, 384, 512),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_fresh_ones_look_untrained(shape):
    torch.manual_seed(0)
    assert all(looks_untrained(MappingNetwork(shape)) for _ in range(50))


@pytest.mark.parametrize("shape", SHAPES[1:])  # of 128 weights, 20 steps may carry none beyond
def test_a_few_steps_of_training_are_seen(shape):
    torch.manual_seed(0)
    mapping = MappingNetwork(shape)
    optimizer = torch.optim.AdamW(mapping.parameters(), lr=1e-3)
    x, y = torch.randn(64, shape.input_dim), torch.randn(64, shape.output_dim)
    for _ in range(20):
        optimizer.zero_grad()
        (mapping(x) - y).square().mean().backward()
        optimizer.step()
    assert not looks_untrained(mapping)


@pytest.mark.parametrize("fill", [0.0, 1e-3, float("nan")])
def test_other_weights_do_not(fill):
    mapping = MappingNetwork(SHAPES[0])
    with torch.no_grad():
        mapping.layers[0].weight.fill_(fill)
    assert not looks_untrained(mapping)


def test_the_weights_of_a_norm_say_nothing():
    # Of a method from outside, whose network may be of any layers.
    network = Network()
    network.linear, network.norm = torch.nn.Linear(64, 64), torch.nn.LayerNorm(64)
    assert looks_untrained(network)
    with torch.no_grad():
        network.linear.weight.mul_(2)
    assert not looks_untrained(network)
