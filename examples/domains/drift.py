"""An invented stream whose answers are known: classes are Gaussians, and each domain turns and shifts them further."""

from __future__ import annotations

import math

import torch

from knowledge_plugin.domains import Domain


def make_stream(
    *, domains: int, classes: int, dim: int, rows: int, degrees: float, shift: float, spread: float, seed: int
) -> list[Domain]:
    """Return domains in the order in which they drift.

    Args:
        domains: How many, the source among them.
        classes: How many classes; each has a centre of its own.
        dim: Width of a feature.
        rows: Rows of each domain to learn from, and as many to ask.
        degrees: How far each domain is turned beyond the one before, in each of the planes of a random basis.
        shift: How far it is moved, in a direction of its own.
        spread: Standard deviation of a class around its centre; centres lie about ``sqrt(2 * dim)`` apart.
        seed: The same one makes the same stream.
    """
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, dim, generator=generator)
    basis = torch.linalg.qr(torch.randn(dim, dim, generator=generator)).Q
    found = []
    for number in range(domains):
        turn = basis @ _turn(dim, math.radians(degrees * number)) @ basis.T
        direction = torch.nn.functional.normalize(torch.randn(dim, generator=generator), dim=0)
        parts = []
        for _ in range(2):
            labels = torch.randint(classes, (rows,), generator=generator)
            features = centres[labels] + spread * torch.randn(rows, dim, generator=generator)
            parts += [features @ turn + shift * number * direction, labels]
        found.append(Domain(f"{degrees * number:.0f} degrees", *parts))
    return found


def _turn(dim: int, angle: float) -> torch.Tensor:
    """Return a rotation of all planes of two axes each by the same angle."""
    turn = torch.eye(dim)
    for i in range(0, dim - 1, 2):
        turn[i : i + 2, i : i + 2] = torch.tensor(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        )
    return turn
