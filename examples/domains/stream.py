"""A stream of domains without labels: what follows it, in what order, and what that is worth beside its controls."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from examples.domains import drift, sentences
from knowledge_plugin.domains import Domain, DomainFollower, FollowSettings, Prototypes, StreamReport, follow_stream
from knowledge_plugin.domains.stream import FOLLOWER

KINDS = ("drift", "sentences", "apart")
ORDERS = ("as it drifts", "backwards", "at random")
MEASURES = ("final", "on arrival", "backward", "forward", "gain")


@dataclass(frozen=True)
class Settings:
    """How much of everything; the defaults are the example's, smaller ones serve the tests."""

    domains: int = 5
    classes: int = 4
    dim: int = 16
    rows: int = 600
    degrees: float = 20.0
    shift: float = 0.5
    spread: float = 1.2
    sentences: int = 400
    orders: tuple[str, ...] = ORDERS
    # Chosen on seeds 0 and 1 of the drift, and on seed 0 of the sentences.
    of_drift: FollowSettings = field(default_factory=FollowSettings)
    of_sentences: FollowSettings = field(default_factory=lambda: FollowSettings(learning_rate=1e-4))


def run(
    kind: str, settings: Settings, seed: int, say: Callable[[str], None] = lambda _: None
) -> dict[str, StreamReport]:
    """Follow one stream in several orders; the labelled source is always first."""
    say(f"making a stream of {kind}")
    if kind == "drift":
        of_source = {name: getattr(settings, name) for name in _DRIFT}
        domains, how = drift.make_stream(**of_source, seed=seed), settings.of_drift
        classes: Sequence[str] = [f"class {i}" for i in range(settings.classes)]
    else:
        domains, how = sentences.make_stream(settings.sentences, seed, apart=kind == "apart"), settings.of_sentences
        classes = sentences.CLASSES
    reports = {}
    # Where nothing leads from one domain to the next, their order says nothing.
    for order in settings.orders[:1] if kind == "apart" else settings.orders:
        say(f"following it {order}")
        ordered = _ordered(domains, order, seed)
        report = follow_stream(ordered, classes, settings=how, seed=seed)
        controls = {
            "  fed with noise": _control(ordered, classes, how, seed, _noise),
            "  its prototypes shuffled": _control(ordered, classes, how, seed, None),
        }
        reports[order] = replace(report, accuracy=_after(report.accuracy, FOLLOWER, controls))
    return reports


_DRIFT = ("domains", "classes", "dim", "rows", "degrees", "shift", "spread")


def _ordered(domains: Sequence[Domain], order: str, seed: int) -> list[Domain]:
    source, rest = domains[0], list(domains[1:])
    if order == "backwards":
        rest.reverse()
    if order == "at random":
        random.Random(seed).shuffle(rest)
    return [source, *rest]


def _control(
    domains: Sequence[Domain], classes: Sequence[str], how: FollowSettings, seed: int,
    instead: Callable[[torch.Tensor, int], torch.Tensor] | None,
) -> tuple[tuple[float, ...], ...]:  # fmt: skip
    """Return the matrix of a follower that is given something else than its domains, or has prototypes of others."""
    source = domains[0]
    follower = DomainFollower.for_features(source.features.shape[1], classes, seed=seed)
    follower.fit(source.features, source.labels, how, seed=seed)
    found = [_row(follower, domains)]
    for i, domain in enumerate(domains[1:], start=1):
        if instead is None:
            _shift_classes(follower.prototypes[-1])
        features = domain.features if instead is None else instead(domain.features, seed + i)
        follower.follow(features, how, seed=seed + i)
        found.append(_row(follower, domains))
    return tuple(found)


def _row(follower: DomainFollower, domains: Sequence[Domain]) -> tuple[float, ...]:
    found = []
    for domain in domains:
        likeliest = follower.probabilities(domain.test_features).argmax(-1)
        found.append(float((likeliest == domain.test_labels).double().mean()))
    return tuple(found)


def _noise(features: torch.Tensor, seed: int) -> torch.Tensor:
    """Return Gaussian noise of the same mean and spread: nothing that could be known of the domain's classes."""
    noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(seed))
    return features.mean(0) + features.std(0) * noise


@torch.no_grad()
def _shift_classes(prototypes: Prototypes) -> None:
    """Give each class the Gaussian of the next one."""
    prototypes.mu.copy_(prototypes.mu.roll(1, 0))
    prototypes.logvar.copy_(prototypes.logvar.roll(1, 0))


def _after(
    accuracy: Mapping[str, tuple[tuple[float, ...], ...]], name: str,
    more: Mapping[str, tuple[tuple[float, ...], ...]],
) -> dict[str, tuple[tuple[float, ...], ...]]:  # fmt: skip
    """Put further systems behind one of them."""
    found: dict[str, tuple[tuple[float, ...], ...]] = {}
    for each, matrix in accuracy.items():
        found[each] = matrix
        if each == name:
            found |= more
    return found


def measures(report: StreamReport, system: str) -> dict[str, float]:
    """Return what is computed of a system's matrix."""
    how = report.final, report.arrival, report.backward, report.forward, report.gain
    return {name: of(system) for name, of in zip(MEASURES, how, strict=True)}
