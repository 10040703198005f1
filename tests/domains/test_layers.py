"""The adapter and the discriminator."""

from __future__ import annotations

import torch

from knowledge_plugin.domains.layers import Adapter, Discriminator


def test_an_adapter_begins_as_the_identity_and_learns():
    adapter = Adapter(4, 8)
    features = torch.randn(5, 4)
    assert torch.equal(adapter(features), features)
    adapter(features).sum().backward()
    assert bool(adapter.up.weight.grad.any())


def test_what_is_adapted_gets_the_gradient_reversed_and_the_discriminator_does_not():
    torch.manual_seed(0)
    discriminator = Discriminator(4)
    real, gradients = torch.randn(6, 4), {}
    for strength in (1.0, -1.0, 0.0):
        new = torch.ones(6, 4, requires_grad=True)
        discriminator.zero_grad()
        discriminator.loss(real, new, strength).backward()
        gradients[strength] = new.grad, discriminator.layers[0].weight.grad.clone()
    assert torch.equal(gradients[1.0][0], -gradients[-1.0][0])
    assert not bool(gradients[0.0][0].any())
    assert torch.equal(gradients[1.0][1], gradients[-1.0][1])


def test_trained_against_each_other_the_adapter_brings_a_domain_to_where_samples_are():
    torch.manual_seed(0)
    adapter, discriminator = Adapter(2, 16), Discriminator(2)
    optimizer = torch.optim.Adam([*adapter.parameters(), *discriminator.parameters()], lr=3e-3)
    new = 0.5 * torch.randn(200, 2) + 2
    before = new.mean(0).norm()
    for _ in range(400):
        optimizer.zero_grad()
        discriminator.loss(0.5 * torch.randn(200, 2), adapter(new), 1.0).backward()
        optimizer.step()
    assert adapter(new).mean(0).norm() < before / 2
