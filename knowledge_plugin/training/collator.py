"""From rows of a dataset to a batch, linking on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.attachment import Attachment

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

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch of tensors.

        Raises:
            TrainingError: Rows have neither ``text`` nor ``input_ids``, or a label is a text.
        """
        assert self.tokenizer is not None
        label = next((name for name in ("labels", "label") if name in rows[0]), None)
        if label is not None:
            _check_labels(label, [row[label] for row in rows])
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


def _check_labels(name: str, labels: list[Any]) -> None:
    if (word := next((label for label in labels if isinstance(label, str)), None)) is not None:
        raise TrainingError(
            f"a row of the dataset has the {name} {word!r:.80}; expected a number. Type: row[{name!r}] = "
            f"model.config.label2id[row[{name!r}]]"
        )
