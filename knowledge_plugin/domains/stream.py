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
        TrainingError: Fewer than two domains, or one that does not fit the others.
    """
    if len(domains) < 2:
        raise TrainingError(f"expected a source and at least one domain after it, found {len(domains)} domains.")
    settings = settings or FollowSettings()
    source = domains[0]
    fitted = DomainFollower.for_features(source.features.shape[1], classes, hidden=hidden, seed=seed)
    fitted.fit(source.features, source.labels, settings, name=source.name, seed=seed)
    means = Prototypes.of(fitted._scaled(source.features.float()), source.labels, len(classes)).mu.detach()
    stay: dict[str, Predict] = {
        FROZEN: _likeliest(fitted),
        "nearest class mean": lambda x: torch.cdist(fitted._scaled(x.float()), means).argmin(-1),
        "joint, with labels": _likeliest(_joint(domains, classes, settings, hidden, seed)),
    }
    found = {name: [_row(predict, domains)] * len(domains) for name, predict in stay.items()}
    for name, (how, space) in _systems(settings, variants or {}).items():
        follower = DomainFollower(replace(fitted.config, space=space)).eval().requires_grad_(False)
        follower.load_state_dict(fitted.state_dict())
        rows = [_row(_likeliest(follower), domains)]
        for i, domain in enumerate(domains[1:], start=1):
            follower.follow(domain.features, how, name=domain.name, seed=seed + i)
            rows.append(_row(_likeliest(follower), domains))
        found[name] = rows
    order = [FROZEN, "nearest class mean", *(name for name in found if name not in stay), "joint, with labels"]
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
    of_encoder: dict[str, FollowSettings] = {
        "pseudo-labels alone": replace(settings, replay=0, adversarial=0, keep=0),
        FOLLOWER: settings,
        "  replay kept close alone": replace(settings, replay=0),
        "  without pseudo-labels": replace(settings, pseudo=0),
        "  with the discriminator": heard,
        **variants,
    }
    systems: dict[str, tuple[FollowSettings, Space]] = {name: (how, "encoder") for name, how in of_encoder.items()}
    return systems | {
        "ALeN, as reconstructed": (heard, "adapted"),
        "  without replay": (replace(heard, replay=0), "adapted"),
        "  without the discriminator": (replace(heard, adversarial=0), "adapted"),
    }


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
