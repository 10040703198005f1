"""From rows of a dataset to a batch, linking on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.answers import (
    IGNORED,
    answer_places,
    answer_tokens,
    are_texts,
    check_answers,
    cut_from,
    generates,
    is_encoder_decoder,
    join_answer,
    predicts_words,
    prompt_mentions,
)
from knowledge_plugin.injection.attachment import Attachment
from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.injection.tokenizer import base_tokenizer

# What the collators read of a row beside what the model's forward takes.
TEXT_COLUMNS = ("text", "text_pair", "mentions")


_OF_EVERY_ROW = (*TEXT_COLUMNS, "input_ids", "label", "labels")


def check_alike(rows: Sequence[dict[str, Any]]) -> None:
    """Make sure that what one row of a batch has, all have: looked for in the first, it would be overlooked in others.

    Raises:
        TrainingError: Some rows have a column that others have not.
    """
    for name in _OF_EVERY_ROW:
        if 0 < (having := sum(name in row for row in rows)) < len(rows):
            empty = " Type: row['mentions'] = [] where nothing is mentioned." if name == "mentions" else ""
            raise TrainingError(
                f"{having} of {len(rows)} rows of a batch have {name!r}: expected all of them to, or none.{empty}"
            )


class LinkingCollator:
    """Makes batches with the tokenizer of an attachment, which need not be there before the first batch."""

    columns: tuple[str, ...] = TEXT_COLUMNS

    def __init__(self, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        self.tokenizer = tokenizer

    def use(self, attachment: Attachment) -> None:
        """Make batches for the model of an attachment."""
        self.tokenizer = attachment.tokenizer

    def for_evaluation(self) -> LinkingCollator:
        """Return a collator that draws nothing at random."""
        return self

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch of tensors."""
        raise NotImplementedError


class TaskCollator(LinkingCollator):
    """Makes batches for any head, padded to the longest row of the batch.

    A row is either raw (``text``, perhaps ``text_pair`` and ``mentions``, and ``label``) or tokenized already
    (``input_ids`` and so on, by the attachment's tokenizer, and ``label`` or ``labels``).

    Of a model that writes, the label of a raw row may be a text. A decoder reads it behind ``text``, with a blank
    between unless there is one, and learns from the label's tokens alone; entities are linked in ``text`` and never in
    the label, and what is too long is cut at its beginning. An encoder-decoder is to write it.

    Args:
        tokenizer: The attachment's tokenizer; may be set later, before the first batch.
    """

    keeps_spans = False  # as "spans", of answers behind texts
    classes: int | None = None
    writes: Literal["behind", "apart"] | None = None

    def use(self, attachment: Attachment) -> None:
        """Make batches for the model of an attachment."""
        super().use(attachment)
        self.classes = _classes(attachment.model)
        self.writes = _writes(attachment.model)

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch of tensors.

        Raises:
            TrainingError: Rows have neither ``text`` nor ``input_ids``, or some have what others have not; a label is a
                text and the model does not write, or none of the head's; an answer is empty, or does not fit into what
                the model reads.
        """
        assert self.tokenizer is not None
        check_alike(rows)
        label = next((name for name in ("labels", "label") if name in rows[0]), None)
        labels = None if label is None else [row[label] for row in rows]
        answers = labels if self.writes is not None and are_texts(labels) else None
        if answers is not None:
            _check_answers(rows, answers, self.writes)
        elif label is not None and labels is not None:
            _check_labels(label, labels, self.classes)
        if "input_ids" in rows[0]:
            known = [{k: v for k, v in row.items() if k not in TEXT_COLUMNS} for row in rows]
            return dict(DataCollatorWithPadding(self.tokenizer)(known))
        if "text" not in rows[0]:
            raise TrainingError(
                f"a row of the dataset has the columns {sorted(rows[0])}; expected 'text' and 'label', or 'input_ids' "
                "made by the attachment's tokenizer and 'labels'."
            )
        texts = [row["text"] for row in rows]
        given = [row["mentions"] for row in rows] if "mentions" in rows[0] else None
        if answers is not None and self.writes == "behind":
            return self._behind(texts, answers, given)
        extra = {} if given is None else {"mentions": given}
        pair = [row["text_pair"] for row in rows] if "text_pair" in rows[0] else None
        batch = dict(self.tokenizer(texts, pair, padding=True, truncation=True, return_tensors="pt", **extra))
        if answers is not None:
            targets = self.tokenizer(text_target=answers, truncation=True)["input_ids"]
            longest = max(map(len, targets))
            batch["labels"] = torch.tensor([each + [IGNORED] * (longest - len(each)) for each in targets])
        elif labels is not None:
            batch["labels"] = torch.as_tensor(labels)
        return batch

    def _behind(self, prompts: list[str], answers: list[str], given: list | None) -> dict[str, torch.Tensor]:
        """Return a batch of texts with answers behind them, which alone are scored."""
        assert self.tokenizer is not None
        # Found before the answer is there: an entity that is linked in it would give it away.
        mentions = prompt_mentions(self.tokenizer, prompts, given)
        answered = [join_answer(*row) for row in zip(prompts, answers, strict=True)]
        options: dict[str, Any] = {"padding": True, "padding_side": "right", "truncation": True}
        options |= {"return_offsets_mapping": True, "return_tensors": "pt"}
        with cut_from(self.tokenizer, "left"):
            batch = dict(self.tokenizer([each.text for each in answered], mentions=mentions, **options))
        ids, spans = batch["input_ids"], batch.pop("offset_mapping")
        batch["labels"] = torch.full_like(ids, IGNORED)
        expected = answer_tokens(base_tokenizer(self.tokenizer), answered, TrainingError)
        for i, (each, tokens) in enumerate(zip(answered, expected, strict=True)):
            row = ids[i].tolist(), spans[i].tolist()
            places = answer_places(each, *row, tokens, follows=True, error=TrainingError)
            batch["labels"][i, places] = ids[i, places]
        return batch | ({"spans": spans} if self.keeps_spans else {})


def _check_answers(rows: Sequence[dict[str, Any]], answers: list[Any], writes: str | None) -> None:
    check_answers(answers, TrainingError)
    if "input_ids" in rows[0]:
        raise TrainingError(
            f"a row of the dataset is tokenized and has the label {answers[0]!r:.80}; expected 'text' with such a "
            "label, or 'labels' that are token ids. Type: dataset.remove_columns('input_ids')"
        )
    if "text_pair" in rows[0] and writes == "behind":
        raise TrainingError(
            "rows have a 'text_pair', and the label is a text that follows one: expected one text in each. Write both "
            "into 'text'."
        )


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


def _writes(model: torch.nn.Module) -> Literal["behind", "apart"] | None:
    """Return where a model writes a text that it is asked for, ``None`` if it does not write."""
    if not predicts_words(model) or not generates(model):
        return None
    return "apart" if is_encoder_decoder(model) else "behind"
