"""From rows of a dataset to a batch, linking on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.attachment import Attachment
from knowledge_plugin.injection.embeddings import bare_model

# What the collators read of a row beside what the model's forward takes.
TEXT_COLUMNS = ("text", "text_pair", "mentions")


class LinkingCollator:
    """Makes batches with the tokenizer of an attachment, which need not be there before the first batch."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        self.tokenizer = tokenizer

    def use(self, attachment: Attachment) -> None:
        """Make batches for the model of an attachment."""
        self.tokenizer = attachment.tokenizer

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch of tensors."""
        raise NotImplementedError


class TaskCollator(LinkingCollator):
    """Makes batches for any head, padded to the longest row of the batch.

    A row is either raw (``text``, perhaps ``text_pair`` and ``mentions``, and ``label``) or tokenized already
    (``input_ids`` and so on, by the attachment's tokenizer, and ``label`` or ``labels``).

    Args:
        tokenizer: The attachment's tokenizer; may be set later, before the first batch.
    """

    classes: int | None = None

    def use(self, attachment: Attachment) -> None:
        """Make batches for the model of an attachment."""
        super().use(attachment)
        self.classes = _classes(attachment.model)

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch of tensors.

        Raises:
            TrainingError: Rows have neither ``text`` nor ``input_ids``, or a label is a text, or none of the head's.
        """
        assert self.tokenizer is not None
        label = next((name for name in ("labels", "label") if name in rows[0]), None)
        if label is not None:
            _check_labels(label, [row[label] for row in rows], self.classes)
        if "input_ids" in rows[0]:
            known = [{k: v for k, v in row.items() if k not in TEXT_COLUMNS} for row in rows]
            return dict(DataCollatorWithPadding(self.tokenizer)(known))
        if "text" not in rows[0]:
            raise TrainingError(
                f"a row of the dataset has the columns {sorted(rows[0])}; expected 'text' and 'label', or 'input_ids' "
                "made by the attachment's tokenizer and 'labels'."
            )
        extra = {"mentions": [row["mentions"] for row in rows]} if "mentions" in rows[0] else {}
        pair = [row["text_pair"] for row in rows] if "text_pair" in rows[0] else None
        batch = dict(
            self.tokenizer(
                [row["text"] for row in rows], pair, padding=True, truncation=True, return_tensors="pt", **extra
            )
        )
        if label is not None:
            batch["labels"] = torch.as_tensor([row[label] for row in rows])
        return batch


def _check_labels(name: str, labels: list[Any], classes: int | None) -> None:
    if (word := next((label for label in labels if isinstance(label, str)), None)) is not None:
        raise TrainingError(
            f"a row of the dataset has the {name} {word!r:.80}; expected a number. Type: row[{name!r}] = "
            f"model.config.label2id[row[{name!r}]]"
        )
    numbers = torch.as_tensor(labels) if not isinstance(labels[0], (list, tuple)) else None
    if classes is None or numbers is None or numbers.dim() != 1 or numbers.is_floating_point():
        return  # regression, several labels a row, or a head that says itself what it expects
    outside = numbers[((numbers < 0) | (numbers >= classes)) & (numbers != -100)]
    if len(outside):
        raise TrainingError(
            f"a row of the dataset has the {name} {int(outside[0])}, but the model's head has {classes} classes: "
            f"expected a number from 0 to {classes - 1}. Load the checkpoint that belongs to these labels, or give it "
            "num_labels=... before it is fine-tuned."
        )


def _classes(model: torch.nn.Module) -> int | None:
    """Return how many classes a classifier tells apart, ``None`` for any other head."""
    model = bare_model(model)
    config = getattr(model, "config", None)
    classes, kind = getattr(config, "num_labels", None), getattr(config, "problem_type", None)
    is_classifier = type(model).__name__.endswith("ForSequenceClassification")
    return (
        classes if is_classifier and classes and classes > 1 and kind in (None, "single_label_classification") else None
    )
