"""A classifier on a frozen encoder that follows a stream of domains without labels, and without the data before."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from knowledge_plugin.config import CONFIG_NAME, MAX_HISTORY, read_config, to_json
from knowledge_plugin.domains.config import FollowedConfig, FollowerConfig, FollowSettings, Head
from knowledge_plugin.domains.layers import Adapter, Discriminator
from knowledge_plugin.domains.prototypes import Prototypes
from knowledge_plugin.errors import ArtifactError, MappingError, TrainingError
from knowledge_plugin.hub.folder import check_sums, describe_files, finish_save, staged
from knowledge_plugin.injection.network import Network

WEIGHTS_NAME = "follower.safetensors"


class DomainFollower(Network):
    """Classifies pooled features of a frozen encoder, and moves from domain to domain without labels or old data.

    ALeN (Ambastha and Leong, arXiv 2301.12054), as far as its abstract tells: Gaussian prototypes replay the past, and
    what is new is adapted to adversarially. The paper's text was not at hand, so that all that follows is a
    reconstruction; that the encoder is frozen, and only a small adapter moves, is ours::

        f = adapter(features)        residual, the identity at first
        class = head(f)              linear, or the posterior of the prototypes
        fit:     CE(head(f), label); a Gaussian for each class; the adapter rests
        follow:  replay * CE(head(z), class of z)              z drawn from the Gaussians, for all past data
                 + discriminator(z, f), its gradient reversed  f becomes like z
                 + pseudo * CE(head(f), pseudo-label)          of the surest of each class
                 + keep * |f - f before|^2
                 then each Gaussian moves towards the surest f of its class

    Old features are never kept: what is saved is the adapter, the head and two numbers for each class and dimension.
    That is no anonymisation, see :class:`~knowledge_plugin.domains.Prototypes`.

    Args:
        config: Classes, widths and the head; see :meth:`for_features` for a shorter way.

    Example:
        >>> features, labels = torch.tensor([[0.0, 1.0], [0.1, 1.1], [1.0, 0.0], [1.1, 0.1]]), torch.tensor([0, 0, 1, 1])
        >>> follower = DomainFollower.for_features(2, ["north", "south"])
        >>> follower.fit(features, labels).follow(features + 0.2).predict(features)
        ['north', 'north', 'south', 'south']
    """

    def __init__(self, config: FollowerConfig) -> None:
        super().__init__()
        self.config = config
        classes = len(config.classes)
        # Features are centred and scaled as the source's are.
        self.register_buffer("center", torch.zeros(config.dim))
        self.register_buffer("scale", torch.ones(config.dim))
        self.adapter = Adapter(config.dim, config.hidden)
        self.head = nn.Linear(config.dim, classes)
        self.prototypes = Prototypes(classes, config.dim)

    center: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def for_features(
        cls,
        dim: int,
        classes: Sequence[str],
        *,
        hidden: int = 64,
        head: Head = "linear",
        encoder: str | None = None,
        seed: int = 0,
    ) -> DomainFollower:
        """Make one that has learned nothing.

        Args:
            dim: Width of the features.
            classes: Names of the classes, in order of their labels.
            hidden: Width of the adapter.
            head: ``"linear"`` or ``"prototype"``.
            encoder: What the features come from, for people.
            seed: Of the weights.

        Raises:
            ConfigError: A value out of bounds, or fewer than two classes.
        """
        config = FollowerConfig(list(classes), dim, hidden, head, encoder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config).eval().requires_grad_(False)

    # ---- learning ------------------------------------------------------------------------------------------------

    def fit(
        self,
        features: torch.Tensor,
        labels: torch.Tensor,
        settings: FollowSettings | None = None,
        *,
        name: str = "source",
        seed: int = 0,
    ) -> DomainFollower:
        """Learn the labelled source: scale, prototypes and head. The adapter stays the identity.

        Args:
            features: Of the frozen encoder, float ``[n, m]``.
            labels: int64 ``[n]``, numbers of classes.
            settings: How.
            name: Of the domain, for the history.
            seed: Of the order of rows.

        Returns:
            Itself.

        Raises:
            TrainingError: Features or labels of another shape or out of bounds, a class without members, or a source
                after others: what was learned before would be lost.
        """
        settings = settings or FollowSettings()
        if self.config.history:
            raise TrainingError(
                f"expected a follower that has learned nothing, found {self.config.history[-1].name!r} in its history. "
                "Type: DomainFollower.for_features(...).fit(features, labels)"
            )
        features, labels = self._checked(features), self._checked_labels(labels, len(features))
        self.center.copy_(features.mean(0))
        self.scale.copy_(features.std(0, unbiased=False).clamp(min=1e-6))
        f = self._scaled(features)
        self.prototypes.load_state_dict(Prototypes.of(f, labels, len(self.config.classes)).state_dict())
        generator = torch.Generator().manual_seed(seed)
        trained = [*self.head.parameters(), *self.prototypes.parameters()]
        for rows in _batches(len(f), settings, trained, generator):
            z, of_z = self.prototypes.sample(settings.batch_size, generator)
            loss = functional.cross_entropy(self.head(f[rows]), labels[rows])
            loss = loss + functional.cross_entropy(self.head(z.detach()), of_z)
            # The Gaussians stay likely, and learn to tell classes apart.
            log_prob = self.prototypes.log_prob(f[rows])
            loss = loss - log_prob.gather(1, labels[rows][:, None]).mean() / self.config.dim
            rows.loss = loss + functional.cross_entropy(self.prototypes.logits(f[rows]), labels[rows])
        self._remember(FollowedConfig(name, len(features), labelled=True))
        return self
