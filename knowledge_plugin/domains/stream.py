"""A stream of domains, and what is left of each once the next ones were followed: systems side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from knowledge_plugin.domains.config import FollowSettings, Space
from knowledge_plugin.domains.follower import DomainFollower
from knowledge_plugin.domains.prototypes import Prototypes
from knowledge_plugin.domains.report import StreamReport
from knowledge_plugin.errors import TrainingError

FROZEN, FOLLOWER = "frozen head", "follower"
_MEANS, _JOINT = "nearest class mean", "joint, with labels"
_HEARD = 0.3  # strength of a discriminator where the settings have none


@dataclass(frozen=True)
class Domain:
    """One domain of a stream, as features of a frozen encoder.

    Attributes:
        name: What it is called.
        features: What there is to learn from, float ``[n, m]``.
        labels: int64 ``[n]``. Of the first domain, the source, they are learned; of the others only the ceiling sees
            them.
        test_features: What is asked, ``[k, m]``.
        test_labels: The answers, ``[k]``.
    """

    name: str
    features: torch.Tensor
    labels: torch.Tensor
    test_features: torch.Tensor
    test_labels: torch.Tensor


Predict = Callable[[torch.Tensor], torch.Tensor]


def follow_stream(
    domains: Sequence[Domain],
    classes: Sequence[str],
    *,
    settings: FollowSettings | None = None,
    variants: Mapping[str, FollowSettings] | None = None,
    hidden: int = 64,
    seed: int = 0,
) -> StreamReport:
    """Let a follower and what it must be compared with go through a stream, and measure each on all domains each time.

    Compared are ``"frozen head"`` (fitted on the source, nothing else), ``"nearest class mean"`` of the source,
    ``"pseudo-labels alone"`` (no replay, no discriminator, nothing kept close), the follower and its parts (``"replay
    kept close alone"``: the adapter does to samples what it did before, but the head is not asked for them), ALeN as we
    reconstruct it (prototypes behind the adapter, a discriminator), and ``"joint, with labels"``: a head and an adapter
    that are trained on the labels of all domains at once, the ceiling.

    Args:
        domains: The labelled source, then the others in the order in which they come.
        classes: Names of the classes.
        settings: Of the follower.
        variants: Further followers by name, with settings of their own, prototypes in the encoder's space.
        hidden: Width of the adapter.
        seed: Of everything random.

    Raises:
        ConfigError: Fewer than two classes, or a width out of bounds.
        TrainingError: Fewer than two domains, one that does not fit the others, or a variant with a system's name.
    """
    if len(domains) < 2:
        raise TrainingError(f"expected a source and at least one domain after it, found {len(domains)} domains.")
    settings = settings or FollowSettings()
    width = torch.as_tensor(domains[0].features).shape[-1]
    fitted = DomainFollower.for_features(width, classes, hidden=hidden, seed=seed)
    domains = [_checked(domain, fitted) for domain in domains]
    systems = _systems(settings, variants or {})
    source = domains[0]
    fitted.fit(source.features, source.labels, settings, name=source.name, seed=seed)
    means = Prototypes.of(fitted._scaled(source.features), source.labels, len(classes)).mu.detach()
    stay: dict[str, Predict] = {
        FROZEN: _likeliest(fitted),
        _MEANS: lambda x: torch.cdist(fitted._scaled(x), means).argmin(-1),
        _JOINT: _likeliest(_joint(domains, classes, settings, hidden, seed)),
    }
    found = {name: [_row(predict, domains)] * len(domains) for name, predict in stay.items()}
    for name, (how, space) in systems.items():
        follower = DomainFollower(replace(fitted.config, space=space)).eval().requires_grad_(False)
        follower.load_state_dict(fitted.state_dict())
        rows = [_row(_likeliest(follower), domains)]
        for i, domain in enumerate(domains[1:], start=1):
            follower.follow(domain.features, how, name=domain.name, seed=seed + i)
            rows.append(_row(_likeliest(follower), domains))
        found[name] = rows
    order = [FROZEN, _MEANS, *systems, _JOINT]
    return StreamReport(
        domains=tuple(domain.name for domain in domains),
        accuracy={name: tuple(map(tuple, found[name])) for name in order},
        rows=tuple(len(domain.test_labels) for domain in domains),
        frozen=FROZEN,
        seed=seed,
    )


def _systems(
    settings: FollowSettings, variants: Mapping[str, FollowSettings]
) -> dict[str, tuple[FollowSettings, Space]]:
    heard = replace(settings, adversarial=settings.adversarial or _HEARD)
    of_encoder = {
        "pseudo-labels alone": replace(settings, replay=0, adversarial=0, keep=0),
        FOLLOWER: settings,
        "  replay kept close alone": replace(settings, replay=0),
        "  without pseudo-labels": replace(settings, pseudo=0),
        "  with the discriminator": heard,
    }
    adapted = {
        "ALeN, as reconstructed": heard,
        "  without replay": replace(heard, replay=0),
        "  without the discriminator": replace(heard, adversarial=0),
    }
    if taken := sorted(variants.keys() & {FROZEN, _MEANS, _JOINT, *of_encoder, *adapted}):
        raise TrainingError(f"variants: {taken[0]!r} is a system of every report. Call yours otherwise.")
    spaces: dict[Space, Mapping[str, FollowSettings]] = {"encoder": {**of_encoder, **variants}, "adapted": adapted}
    return {name: (how, space) for space, systems in spaces.items() for name, how in systems.items()}


def _checked(domain: Domain, follower: DomainFollower) -> Domain:
    """Return a domain whose rows a follower takes, as it takes them.

    Raises:
        TrainingError: They are of another shape or out of bounds, or not as many labels as rows.
    """
    try:
        features, asked = follower._checked(domain.features), follower._checked(domain.test_features)
        labels = follower._checked_labels(domain.labels, len(features))
        answers = follower._checked_labels(domain.test_labels, len(asked))
    except TrainingError as error:
        raise TrainingError(f"domain {domain.name!r:.80}: {error}") from error
    return Domain(domain.name, features, labels, asked, answers)


def _joint(
    domains: Sequence[Domain], classes: Sequence[str], settings: FollowSettings, hidden: int, seed: int
) -> DomainFollower:
    features, labels = torch.cat([d.features for d in domains]), torch.cat([d.labels for d in domains])
    joint = DomainFollower.for_features(features.shape[1], classes, hidden=hidden, seed=seed)
    more = replace(settings, steps=settings.steps * len(domains))
    return joint.fit(features, labels, more, seed=seed, adapt=True)


def _likeliest(follower: DomainFollower) -> Predict:
    return lambda features: follower.probabilities(features).argmax(-1)


def _row(predict: Predict, domains: Sequence[Domain]) -> list[float]:
    return [float((predict(d.test_features) == d.test_labels).double().mean()) for d in domains]
