"""A classifier on a frozen encoder that follows a stream of domains without labels, and without the data before."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from knowledge_plugin.config import CONFIG_NAME, read_config, to_json
from knowledge_plugin.domains.batches import Batches
from knowledge_plugin.domains.config import FollowedConfig, FollowerConfig, FollowSettings, Space
from knowledge_plugin.domains.layers import Adapter, Discriminator
from knowledge_plugin.domains.prototypes import Prototypes
from knowledge_plugin.errors import ArtifactError, ConfigError, MappingError, TrainingError
from knowledge_plugin.hub.folder import check_sums, describe_files, finish_save, staged
from knowledge_plugin.injection.network import Network, drawn_by, exactly

WEIGHTS_NAME = "follower.safetensors"


class DomainFollower(Network):
    """Classifies pooled features of a frozen encoder, and moves from domain to domain without labels or old data.

    ALeN (Ambastha and Leong, arXiv 2301.12054), as far as its abstract tells: Gaussian prototypes replay the past, and
    what is new is adapted to adversarially. The paper's text was not at hand, so that all that follows is a
    reconstruction; that the encoder is frozen and only a small adapter moves is ours::

        f = adapter(features)        residual, the identity at first
        class = head(f)              linear
        fit:     CE(head(f), label); a Gaussian for each class; the adapter rests
        follow:  replay * CE(head(z), class of z)              z drawn from the Gaussians, for all past data
                 + discriminator(z, f), its gradient reversed  f becomes like z
                 + pseudo * CE(head(f), pseudo-label)          of the surest of each class
                 + keep * |f - f before|^2
                 then Gaussians of what was followed

    With ``space="adapted"`` a Gaussian lies behind the adapter, as in the reconstruction: it keeps the head where it
    is, and moves a little towards each domain. With ``space="encoder"``, which is ours and the default, each domain
    leaves Gaussians of the frozen encoder's features, and ``z = adapter(sample)``: as the encoder never changes they
    stay true, and what the adapter does to the past is replayed too. That costs ``2 * C * m`` numbers a domain.

    Old features are never kept: what is saved is the adapter, the head and two numbers for each class and dimension.
    That is no anonymisation, see :class:`~knowledge_plugin.domains.Prototypes`.

    Args:
        config: Classes, widths and the head; see :meth:`for_features` for a shorter way.

    Example:
        >>> features = torch.tensor([[0.0, 1.0], [0.1, 1.1], [1.0, 0.0], [1.1, 0.1]])
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> follower = DomainFollower.for_features(2, ["north", "south"])
        >>> follower.fit(features, labels, FollowSettings(steps=20)).follow(features + 0.2).predict(features)
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
        self.prototypes = nn.ModuleList(Prototypes(classes, config.dim) for _ in range(config.domains))

    center: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def for_features(
        cls,
        dim: int,
        classes: Sequence[str],
        *,
        hidden: int = 64,
        space: Space = "encoder",
        encoder: str | None = None,
        seed: int = 0,
    ) -> DomainFollower:
        """Make one that has learned nothing.

        Args:
            dim: Width of the features.
            classes: Names of the classes, in order of their labels.
            hidden: Width of the adapter.
            space: Where the prototypes lie, ``"encoder"`` or ``"adapted"``.
            encoder: What the features come from, for people.
            seed: Of the weights.

        Raises:
            ConfigError: A value out of bounds, or fewer than two classes.
        """
        config = FollowerConfig(list(classes), dim, hidden, space, encoder)
        with drawn_by(seed):
            return cls(config).eval().requires_grad_(False)

    # ---- learning ------------------------------------------------------------------------------------------------

    def fit(
        self,
        features: torch.Tensor,
        labels: torch.Tensor,
        settings: FollowSettings | None = None,
        *,
        name: str = "source",
        adapt: bool = False,
        seed: int = 0,
    ) -> DomainFollower:
        """Learn the labelled source: scale, prototypes and head.

        Args:
            features: Of the frozen encoder, float ``[n, m]``.
            labels: int64 ``[n]``, numbers of classes.
            settings: How.
            name: Of the domain, for the history.
            adapt: Train the adapter too, as for the ceiling that has labels of all domains; else it stays the identity.
            seed: Of the order of rows.

        Returns:
            Itself.

        Raises:
            ConfigError: A name that is none.
            TrainingError: Features or labels of another shape or out of bounds, a class without members, training has
                diverged, or a source after others: what was learned before would be lost. Then nothing is changed.
        """
        settings = settings or FollowSettings()
        if self.config.history:
            raise TrainingError(
                f"expected a follower that has learned nothing, found {self.config.history[-1].name!r} in its history. "
                "Type: DomainFollower.for_features(...).fit(features, labels)"
            )
        features = self._checked(features)
        labels = self._checked_labels(labels, len(features))
        learned = self._with(FollowedConfig(name, len(features), labelled=True))
        with self._learning():
            self._fit(features, labels, settings, adapt, seed)
        self.config = learned
        return self

    def _fit(
        self, features: torch.Tensor, labels: torch.Tensor, settings: FollowSettings, adapt: bool, seed: int
    ) -> None:
        spread = features.std(0, unbiased=False)
        self.center.copy_(features.mean(0))
        # What never varies in the source must not become huge when it does in another domain.
        self.scale.copy_(torch.where(spread > 1e-6, spread, 1.0))
        f = self._scaled(features)
        prototypes = Prototypes.of(f, labels, len(self.config.classes))
        self.prototypes = nn.ModuleList([prototypes])
        self._discriminate(f, labels, prototypes)
        generator = torch.Generator().manual_seed(seed)
        trained = [*self.head.parameters(), *prototypes.parameters()]
        batches = Batches(len(f), settings, [*trained, *(self.adapter.parameters() if adapt else ())], generator)
        for rows in batches:
            adapted = self.adapter(f[rows])
            z, of_z = prototypes.sample(settings.batch_size, generator)
            loss = functional.cross_entropy(self.head(adapted), labels[rows])
            loss = loss + functional.cross_entropy(self.head(self.adapter(z.detach())), of_z)
            # The Gaussians stay likely, and learn to tell classes apart.
            own = prototypes.log_prob(f[rows]).gather(1, labels[rows][:, None])
            loss = loss - own.mean() / self.config.dim
            batches.step(loss + functional.cross_entropy(prototypes.logits(f[rows]), labels[rows]))

    def follow(
        self,
        features: torch.Tensor,
        settings: FollowSettings | None = None,
        *,
        name: str | None = None,
        seed: int = 0,
    ) -> DomainFollower:
        """Learn the next domain, of which nobody knows labels.

        Args:
            features: Of the same frozen encoder, float ``[n, m]``.
            settings: How.
            name: Of the domain, for the history; a number if it has none.
            seed: Of the order of rows, of what is replayed, and of the discriminator.

        Returns:
            Itself.

        Raises:
            ConfigError: A name that is none.
            TrainingError: Features of another shape or not finite, nothing was fitted before, the history is full, or
                training has diverged. Then nothing is changed.
        """
        settings = settings or FollowSettings()
        if not self.config.history:
            raise TrainingError("expected a fitted follower. Type: follower.fit(features, labels), then follow(...)")
        features = self._checked(features)
        learned = self._with(FollowedConfig(name or f"domain {len(self.config.history)}", len(features)))
        with self._learning():
            self._follow(self._scaled(features), settings, seed)
        self.config = learned
        return self

    def _follow(self, f: torch.Tensor, settings: FollowSettings, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        with drawn_by(seed):
            discriminator = Discriminator(self.config.dim).to(self.device)
        before = copy.deepcopy(self.adapter)
        in_encoder = self.config.space == "encoder"
        batches = Batches(
            len(f),
            settings,
            [*self.adapter.parameters(), *self.head.parameters(), *discriminator.parameters()],
            generator,
        )
        for step, rows in enumerate(batches):
            if step % max(1, len(f) // settings.batch_size) == 0:  # each time that all rows were seen
                pseudo, sure = self._confident(f, settings.confident)
            adapted = self.adapter(f[rows])
            drawn, of_z = self._replay(settings.batch_size, generator)
            z = self.adapter(drawn) if in_encoder else drawn
            loss = settings.replay * functional.cross_entropy(self.head(z), of_z)
            if settings.adversarial:
                # As in the paper of the gradient reversal: the discriminator is heard once it knows something.
                strength = settings.adversarial * (2 / (1 + math.exp(-10 * step / settings.steps)) - 1)
                loss = loss + discriminator.loss(z.detach(), adapted, strength)
            if bool(sure[rows].any()):
                of_sure = functional.cross_entropy(self.head(adapted[sure[rows]]), pseudo[rows][sure[rows]])
                loss = loss + settings.pseudo * of_sure
            kept, was = (z, before(drawn)) if in_encoder else (adapted, before(f[rows]))
            batches.step(loss + settings.keep * (kept - was).square().mean())
        with torch.no_grad():
            pseudo, sure = self._confident(f, settings.confident)
            if in_encoder:
                # Of a class that is not there, what was there last.
                latest = copy.deepcopy(self._gaussians[-1])
                latest.refresh(f, pseudo, rate=1)
                self.prototypes.append(latest)
            else:
                self._gaussians[0].refresh(self.adapter(f)[sure], pseudo[sure], settings.refresh)

    @torch.no_grad()
    def _replay(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw from all prototypes about ``count`` features and their classes, at least one of each."""
        each = max(len(self.config.classes), count // len(self._gaussians))
        drawn = [prototypes.sample(each, generator) for prototypes in self._gaussians]
        return torch.cat([z for z, _ in drawn]), torch.cat([labels for _, labels in drawn])

    @torch.no_grad()
    def _confident(self, f: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a pseudo-label of each row and whether it is believed: of each class the surest ``share``."""
        sureness, pseudo = self.head(self.adapter(f)).softmax(-1).max(-1)
        sure = torch.zeros(len(f), dtype=torch.bool, device=f.device)
        for label in pseudo.unique().tolist():
            rows = (pseudo == label).nonzero()[:, 0]
            sure[rows[sureness[rows].argsort(descending=True)[: math.ceil(share * len(rows))]]] = True
        return pseudo, sure

    # ---- using it ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """Return how likely each class is, float32 ``[n, C]``, for features ``[n, m]``.

        Raises:
            TrainingError: Features of another shape or not finite, or nothing was fitted.
        """
        if not self.config.history:
            raise TrainingError("expected a fitted follower. Type: follower.fit(features, labels)")
        with exactly(self.device):
            return self(self._checked(features)).softmax(-1)

    def predict(self, features: torch.Tensor) -> list[str]:
        """Return the name of the likeliest class of each row.

        Raises:
            TrainingError: As :meth:`probabilities`.
        """
        return [self.config.classes[i] for i in self.probabilities(features).argmax(-1).tolist()]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits ``[n, C]`` of features ``[n, m]``."""
        return self.head(self.adapter(self._scaled(features)))

    # ---- keeping it ----------------------------------------------------------------------------------------------

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and the weights, beside and renamed: an interrupted save leaves the old one whole.

        No feature, no label and no text is written.

        Raises:
            SaveError: The disk is full, the folder cannot be written, or it holds something else.
            MappingError: A weight is not finite.
        """
        with staged(folder) as beside:
            self.save(beside / WEIGHTS_NAME)
            config = replace(self.config, files=describe_files(beside, [WEIGHTS_NAME]))
            (beside / CONFIG_NAME).write_text(to_json(config), encoding="utf-8")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> DomainFollower:
        """Open one that :meth:`save_pretrained` wrote, in a folder. It can follow further domains.

        Raises:
            ArtifactError: The folder is none, or files are missing, truncated or altered.
            ConfigError: Its ``config.json`` is malformed or out of bounds, or of a newer format.
            MappingError: The weights are not what the config declares.
        """
        folder = Path(folder)
        if folder.is_dir():
            finish_save(folder)
        config = read_config(folder, FollowerConfig)
        if set(config.files) != {WEIGHTS_NAME}:
            raise ArtifactError(
                f"{folder}: expected the config to list {WEIGHTS_NAME}, found {sorted(config.files)[:5]}."
            )
        check_sums(folder, config.files)
        # Before memory is taken for weights that the file cannot hold.
        if 4 * config.weights > config.files[WEIGHTS_NAME].size:
            raise MappingError(
                f"{folder / WEIGHTS_NAME}: expected {4 * config.weights:,} bytes of weights, found a file of "
                f"{config.files[WEIGHTS_NAME].size:,}. Save it again."
            )
        follower = cls(replace(config, files={})).eval()
        follower.load(folder / WEIGHTS_NAME)
        priors = torch.stack([prototypes.prior for prototypes in follower._gaussians])
        if not (bool((follower.scale > 0).all()) and bool((priors >= 0).all())):
            raise MappingError(f"{folder / WEIGHTS_NAME}: expected scales above 0 and priors from 0 up. Save it again.")
        return follower.requires_grad_(False)

    # ---- its parts -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _discriminate(self, f: torch.Tensor, labels: torch.Tensor, prototypes: Prototypes) -> None:
        """Begin with the linear discriminant of the prototypes: as if all classes had the same variances."""
        mu = prototypes.mu
        precision = 1 / (f - mu[labels]).var(0, unbiased=False).clamp(min=1e-3)
        self.head.weight.copy_(mu * precision)
        self.head.bias.copy_(prototypes.prior.log() - 0.5 * (mu.square() * precision).sum(-1))

    @contextmanager
    def _learning(self) -> Iterator[None]:
        """Learn within, whatever the caller has set for gradients and precision; nothing is changed if it fails."""
        before, prototypes = copy.deepcopy(self.state_dict()), list(self.prototypes)
        try:
            with torch.inference_mode(False), torch.enable_grad(), exactly(self.device):
                yield
            if not all(bool(tensor.isfinite().all()) for tensor in self.state_dict().values()):
                raise TrainingError(
                    "training has diverged. Type FollowSettings(learning_rate=1e-4) or less; the follower is as before."
                )
        except BaseException:
            self.prototypes = nn.ModuleList(prototypes)
            self.load_state_dict(before)
            raise

    def _with(self, followed: FollowedConfig) -> FollowerConfig:
        """Return the config once a domain is learned, before anything is.

        Raises:
            TrainingError: No further domain can be kept.
        """
        history = [*self.config.history, followed]
        try:
            return replace(self.config, history=history)
        except ConfigError as error:
            raise TrainingError(
                f"a follower of {len(self.config.history)} domains cannot keep another one: {error} Fit a new follower."
            ) from error

    @property
    def _gaussians(self) -> list[Prototypes]:
        return cast(list[Prototypes], list(self.prototypes))

    def _scaled(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.center) / self.scale

    def _checked(self, features: torch.Tensor) -> torch.Tensor:
        features = _tensor("features", features, f"numbers [n, {self.config.dim}]")
        if features.dim() != 2 or features.shape[1] != self.config.dim or not len(features):
            raise TrainingError(f"features: expected [n, {self.config.dim}], found {list(features.shape)}.")
        features = features.detach().to(self.device, torch.float32)
        if not bool(features.isfinite().all()):
            raise TrainingError("features: expected finite numbers, found NaN or infinity.")
        return features

    def _checked_labels(self, labels: torch.Tensor, rows: int) -> torch.Tensor:
        labels, classes = _tensor("labels", labels, f"{rows} whole numbers"), len(self.config.classes)
        if labels.shape != (rows,) or labels.is_floating_point() or labels.is_complex():
            raise TrainingError(f"labels: expected {rows} whole numbers, found {labels.dtype} {list(labels.shape)}.")
        if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise TrainingError(f"labels: expected numbers of {classes} classes from 0, found {int(labels.min())} to "
                                f"{int(labels.max())}.")  # fmt: skip
        return labels.to(self.device, torch.int64)


def _tensor(name: str, values: object, expected: str) -> torch.Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TrainingError(f"{name}: expected {expected}, found {values!r:.200}.") from error
