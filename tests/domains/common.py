"""Two classes far apart, and the same moved."""

from __future__ import annotations

import torch

from knowledge_plugin.domains import Domain, DomainFollower, FollowSettings

QUICK = FollowSettings(steps=30, batch_size=32, learning_rate=1e-2)


def classes(shift: float = 0.0, rows: int = 80, seed: int = 0, dim: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features around -2 and 2 of the first axis, moved along it, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 2
    features = 0.5 * torch.randn(rows, dim, generator=generator)
    features[:, 0] += 4.0 * labels - 2.0 + shift
    return features, labels


def domain(name: str, shift: float, seed: int = 0) -> Domain:
    return Domain(name, *classes(shift, seed=seed), *classes(shift, seed=seed + 100))


def fitted(space: str = "encoder", **kwargs) -> DomainFollower:
    follower = DomainFollower.for_features(4, ["left", "right"], hidden=8, space=space, **kwargs)
    return follower.fit(*classes(), QUICK)


def share_right(follower: DomainFollower, features: torch.Tensor, labels: torch.Tensor) -> float:
    return float((follower.probabilities(features).argmax(-1) == labels).double().mean())


def numbers(follower: DomainFollower) -> dict[str, list]:
    return {name: tensor.tolist() for name, tensor in follower.state_dict().items()}
