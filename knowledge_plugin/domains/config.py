"""What ``config.json`` of a follower says, and how one learns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal

from knowledge_plugin.config import (
    MAX_FILES,
    MAX_HISTORY,
    MAX_MAPPING_WEIGHTS,
    MAX_ROWS,
    MAX_WIDTH,
    FileConfig,
    check_bound,
    parse_fields,
)
from knowledge_plugin.errors import ConfigError

Space = Literal["encoder", "adapted"]

MAX_CLASSES = 10_000


@dataclass(frozen=True)
class FollowSettings:
    """How a follower learns; all weights of its loss may be 0, which takes the part away.

    Attributes:
        steps: Steps of the optimizer, for the source and for each domain.
        batch_size: Rows a step, and as many samples of prototypes.
        learning_rate: Of Adam. Wide features want less: 1e-4 for the 384 numbers of a sentence encoder.
        replay: Weight of the cross-entropy on samples of the prototypes.
        adversarial: Strength of the reversed gradient of the discriminator. Off: 0.3 gained about a point where it was
            measured, and 1 harms wide features (docs/domains.md).
        pseudo: Weight of the cross-entropy on confident pseudo-labels.
        keep: Weight of the mean squared distance to what the adapter made before: of replayed features in the space
            ``"encoder"``, of the domain's own in the space ``"adapted"``.
        confident: Of the rows that a class is predicted for, the share that is believed: the surest.
        refresh: How far the prototypes of the space ``"adapted"`` move towards the confident features of a domain once
            it is learned, from 0 to 1.
    """

    steps: int = 200
    batch_size: int = 128
    learning_rate: float = 1e-3
    replay: float = 1.0
    adversarial: float = 0.0
    pseudo: float = 1.0
    keep: float = 0.1
    confident: float = 0.8
    refresh: float = 0.3

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise ConfigError(f"{item.name}: expected a number from 0 up, found {value!r:.80}.")
        for name in ("steps", "batch_size"):
            if not isinstance(value := getattr(self, name), int):
                raise ConfigError(f"{name}: expected a whole number, found {value!r:.80}.")
            check_bound(name, value, MAX_ROWS)
        for name in ("confident", "refresh"):
            if not getattr(self, name) <= 1:
                raise ConfigError(f"{name}: expected a share from 0 to 1, found {getattr(self, name)}.")


@dataclass(frozen=True)
class FollowedConfig:
    """A domain that was learned: the labelled source first.

    Attributes:
        name: What it is called.
        rows: How many features of it were seen. None of them was kept.
        labelled: Whether labels were seen.
    """

    name: str
    rows: int
    labelled: bool = False

    def __post_init__(self) -> None:
        parse_fields(self)
        check_bound("length of a domain's name", len(self.name), 1_000, lower=0)
        check_bound("rows", self.rows, MAX_ROWS)


@dataclass(frozen=True)
class FollowerConfig:
    """What ``config.json`` of a follower says.

    Attributes:
        classes: Names of the classes, in order.
        dim: Width of the frozen encoder's features.
        hidden: Width between the two layers of the adapter.
        space: Where the prototypes lie. ``"encoder"``: in the frozen encoder's features, a Gaussian for each class of
            each domain, replayed through the adapter. ``"adapted"``: behind the adapter, one for each class.
        encoder: Name of the frozen encoder, for people.
        history: The domains that were learned, in order.
        files: Size and checksum of each file.
    """

    classes: list[str]
    dim: int
    hidden: int = 64
    space: Space = "encoder"
    encoder: str | None = None
    history: list[FollowedConfig] = field(default_factory=list)
    files: dict[str, FileConfig] = field(default_factory=dict)

    artifact: ClassVar[str] = "domain-follower"

    def __post_init__(self) -> None:
        parse_fields(self)
        check_bound("number of classes", len(self.classes), MAX_CLASSES, lower=2)
        if len(set(self.classes)) < len(self.classes):
            raise ConfigError(f"classes: expected different names, found {self.classes!r:.200}.")
        check_bound("dim", self.dim, MAX_WIDTH)
        check_bound("hidden", self.hidden, MAX_WIDTH)
        check_bound("number of weights", self.weights, MAX_MAPPING_WEIGHTS)
        check_bound("length of the encoder's name", len(self.encoder or ""), 1_000, lower=0)
        check_bound("length of the history", len(self.history), MAX_HISTORY, lower=0)
        check_bound("number of files", len(self.files), MAX_FILES, lower=0)

    @property
    def domains(self) -> int:
        """How many sets of prototypes there are."""
        return max(1, len(self.history)) if self.space == "encoder" else 1

    @property
    def weights(self) -> int:
        """How many numbers its file holds."""
        classes = len(self.classes)
        adapter = 2 * self.dim * self.hidden + self.hidden + self.dim
        prototypes = self.domains * classes * (2 * self.dim + 1)
        return 2 * self.dim + adapter + classes * (self.dim + 1) + prototypes
