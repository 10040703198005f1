"""Gaussians of classes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin.domains import Prototypes
from knowledge_plugin.errors import TrainingError
from tests.domains.common import classes


def test_they_are_the_mean_and_variance_of_each_class():
    features, labels = classes(rows=400)
    prototypes = Prototypes.of(features, labels, 2)
    for label in (0, 1):
        mine = features[labels == label]
        assert torch.allclose(prototypes.mu[label], mine.mean(0), atol=1e-6)
        assert torch.allclose(prototypes.logvar[label].exp(), mine.var(0, unbiased=False), atol=1e-5)
    assert prototypes.prior.tolist() == [0.5, 0.5]


@given(seed=st.integers(0, 1000), count=st.integers(1, 6), dim=st.integers(1, 5))
def test_densities_are_those_of_torch(seed, count, dim):
    torch.manual_seed(seed)
    prototypes = Prototypes(count, dim)
    with torch.no_grad():
        prototypes.mu.normal_()
        prototypes.logvar.uniform_(-2, 2)
    features = torch.randn(7, dim)
    normal = torch.distributions.Normal(prototypes.mu, torch.exp(0.5 * prototypes.logvar))
    expected = torch.stack([normal.log_prob(row).sum(-1) for row in features])
    assert torch.allclose(prototypes.log_prob(features), expected, atol=1e-3)
    assert torch.allclose(prototypes.posterior(features).sum(-1), torch.ones(7), atol=1e-5)


def test_the_posterior_is_bayes_rule_with_the_prior():
    prototypes = Prototypes.of(torch.tensor([[-1.0], [-1.2], [-0.8], [1.0]]), torch.tensor([0, 0, 0, 1]), 2)
    assert prototypes.prior.tolist() == [0.75, 0.25]
    with torch.no_grad():
        prototypes.mu[:, 0] = 0  # nothing but the prior tells them apart
        prototypes.logvar[:] = 0
    assert torch.allclose(prototypes.posterior(torch.zeros(1, 1)), torch.tensor([[0.75, 0.25]]))


def test_samples_are_of_their_class_and_gradients_reach_the_gaussians():
    prototypes = Prototypes.of(*classes(rows=400), 2)
    z, labels = prototypes.sample(2000, torch.Generator().manual_seed(0))
    assert labels.bincount().tolist() == [1000, 1000]
    for label in (0, 1):
        assert torch.allclose(z[labels == label].mean(0), prototypes.mu[label], atol=0.1)
    z.square().sum().backward()
    assert all(bool(parameter.grad.any()) for parameter in prototypes.parameters())
    again, _ = prototypes.sample(2000, torch.Generator().manual_seed(0))
    assert torch.equal(again, z)


def test_a_refresh_goes_part_of_the_way_and_1_forgets():
    features, labels = classes(rows=400)
    moved, _ = classes(shift=10.0, rows=400)
    old, new = Prototypes.of(features, labels, 2), Prototypes.of(moved, labels, 2)
    half = Prototypes.of(features, labels, 2)
    half.refresh(moved, labels, rate=0.5)
    assert torch.allclose(half.mu, (old.mu + new.mu) / 2, atol=1e-5)
    # Between two means ten apart lies a variance of 25.
    assert half.logvar[0, 0].exp() > 24
    whole = Prototypes.of(features, labels, 2)
    whole.refresh(moved, labels, rate=1)
    assert torch.allclose(whole.mu, new.mu, atol=1e-5)
    assert torch.allclose(whole.logvar, new.logvar, atol=1e-4)


def test_a_class_without_new_members_stays():
    prototypes = Prototypes.of(*classes(), 2)
    before = prototypes.mu[1].clone()
    prototypes.refresh(torch.ones(5, 4), torch.zeros(5, dtype=torch.int64), rate=1)
    assert torch.equal(prototypes.mu[1], before)
    assert torch.equal(prototypes.mu[0], torch.ones(4))


def test_a_class_without_members_is_refused():
    with pytest.raises(TrainingError, match="none of class 1"):
        Prototypes.of(torch.zeros(2, 3), torch.tensor([0, 2]), 3)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 1, -1]])
def test_a_label_of_no_class_is_refused(labels):
    with pytest.raises(TrainingError, match="labels: expected numbers of 2 classes"):
        Prototypes.of(torch.zeros(3, 3), torch.tensor(labels), 2)
