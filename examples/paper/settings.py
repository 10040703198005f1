"""How long and how fast everything learns. What stands here is what the paper's code says; tests make smaller ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Training:
    """One training run.

    Attributes:
        learning_rate: Of Adam.
        epochs: How often each row is seen.
        batch_size: Rows of a step. A FewRel episode is 5 rows for each of its relations.
        dropout: Dropout of the frozen model, for map-tuning; ``None`` for its own.
        constant: Whether the learning rate stays what it is. Else it rises for a tenth of the steps, and falls to 0.
    """

    learning_rate: float
    epochs: float = 1
    batch_size: int = 64
    dropout: float | None = None
    constant: bool = False


@dataclass(frozen=True)
class Settings:
    """Of one task.

    Attributes:
        adaptation: Of each way to adapt a checkpoint.
        task: Of task-specific map-tuning.
        general: Of general map-tuning.
        max_length: Tokens of a text, or a pair of texts.
        rank: Of LoRA; the scale is one through it.
        bottleneck: Width of the adapters.
        sentences: Sentences of an entity, at most, for vectors made in the manner of PELT.
    """

    adaptation: dict[str, Training]
    task: Training
    general: Training = field(default_factory=lambda: Training(3e-5, 5, 64, dropout=0.25, constant=True))
    max_length: int = 64
    rank: int = 4
    bottleneck: int = 32
    sentences: int = 256

    def shortened(self, epochs: float) -> Settings:
        """Return the same with a fixed number of epochs everywhere, for a try."""
        short = {name: replace(training, epochs=epochs) for name, training in self.adaptation.items()}
        task, general = replace(self.task, epochs=epochs), replace(self.general, epochs=epochs)
        return replace(self, adaptation=short, task=task, general=general)


def _adaptation(fine_tuning: Training, lora: Training, adapter: Training, bitfit: Training) -> dict[str, Training]:
    return {"fine-tuning": fine_tuning, "lora": lora, "adapter": adapter, "bitfit": bitfit}


# An episode of FewRel has 25 rows (5-way); the paper's batch of 4 episodes is 100 rows.
_FEWREL = Settings(
    _adaptation(Training(2e-5, 1, 100), Training(8e-4, 1, 100), Training(5e-4, 1, 100), Training(8e-4, 1, 100)),
    task=Training(2e-5, 1, 100, dropout=0.35),
    max_length=512,
    rank=32,
)
_WIKI80 = Settings(
    _adaptation(Training(5e-5, 15, 32), Training(2e-3, 60, 64), Training(2e-3, 60, 64), Training(2e-3, 60, 64)),
    task=Training(4e-4, 30, 64, dropout=0.3),
    max_length=128,
    rank=32,
)

PUBLISHED = {
    "fewrel": _WIKI80,  # the paper has no plain classification of FewRel; its sentences are like those of Wiki80
    "fewrel-episodes": _FEWREL,
    "fewrel-prototypes": _FEWREL,
    "wiki80": _WIKI80,
    "wiki-et": Settings(
        _adaptation(Training(1e-5, 2), Training(1e-3, 2), Training(1e-3, 2), Training(1e-3, 2)),
        task=Training(5e-5, 2, 128, dropout=0.2),
    ),
    "entity-questions": Settings(
        _adaptation(Training(1e-4, 5), Training(5e-4, 5), Training(5e-4, 5), Training(5e-4, 5)),
        task=Training(2e-3, 5),
    ),
}
