"""From rows of a dataset to a batch, linking on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from knowledge_plugin.data_rows import (
    EXAMPLE_OF_ANSWER,
    Where,
    by_number,
    by_text,
    check_answers_of,
    check_no_words,
    check_rows,
    check_texts,
    class_numbers,
    label_numbers,
    wrong_label,
)
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.answers import (
    IGNORED,
    answer_places,
    answer_tokens,
    are_texts,
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


_LABELS = ("labels", "label")
_OF_EVERY_ROW = (*TEXT_COLUMNS, "input_ids", *_LABELS)


def check_alike(rows: Sequence[Mapping[str, Any]], where: Where | None = None) -> None:
    """Make sure that what one row has, all have: looked for in the first, it would be overlooked in others.

    Args:
        rows: Those of a batch, or of a dataset.
        where: What a row of a dataset is called; ``None`` for those of a batch, which go by their texts.

    Raises:
        TrainingError: Some rows have a column that others have not, or a text is none.
    """
    called = by_text(rows) if where is None else where
    for name in _OF_EVERY_ROW:
        if 0 < (having := sum(name in row for row in rows)) < len(rows):
            without = called(next(i for i, row in enumerate(rows) if name not in row))
            empty = " Type: row['mentions'] = [] where nothing is mentioned." if name == "mentions" else ""
            raise TrainingError(
                f"{having} of {len(rows)} rows{' of a batch' if where is None else ''} have {name!r}: expected all of "
                f"them to, or none. {without} has none.{empty}"
            )
    check_texts(rows, called, TrainingError)


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

    def check(self, rows: Sequence[Mapping[str, Any]], where: Where) -> None:
        """Make sure that rows of a dataset can be read, before any of them is.

        Args:
            rows: The rows.
            where: What a row is called.

        Raises:
            TrainingError: They are of another form; which row it is, the error says.
        """
        check_alike(rows, where)

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch of tensors."""
        raise NotImplementedError


def checked_rows(data: Any, collator: LinkingCollator, first: int) -> Sequence[Any]:
    """Return the first rows of a dataset, once it is known that a collator can read them.

    All rows of a list are looked at, so that none of them ends a training that has begun; what else may give rows one
    by one, perhaps after work, is looked at as far as it is returned.

    Args:
        data: It has a length.
        collator: What is to read them.
        first: How many are returned at most.

    Raises:
        TrainingError: There are none, or one of them, which the error names, is of another form.
    """
    in_memory = isinstance(data, (list, tuple, Mapping))
    rows: Any = data if in_memory else [data[i] for i in range(min(len(data), first))]
    check_rows(data, rows, TrainingError)
    collator.check(rows, by_number)
    return rows[:first]


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
    head: _Head | None = None
    words: bool = False
    writes: Literal["behind", "apart"] | None = None

    def use(self, attachment: Attachment) -> None:
        """Make batches for the model of an attachment."""
        super().use(attachment)
        self.head = _head(attachment.model)
        self.words = predicts_words(attachment.model)
        self.writes = _writes(attachment.model)

    def check(self, rows: Sequence[Mapping[str, Any]], where: Where) -> None:
        """Make sure that rows of a dataset can be read, their labels too, before any of them is."""
        super().check(rows, where)
        self._labels(rows, where)

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch of tensors.

        Raises:
            TrainingError: Rows have neither ``text`` nor ``input_ids``, or some have what others have not; a label is a
                text and the model does not write, or none of the head's; an answer is empty, or does not fit into what
                the model reads.
        """
        assert self.tokenizer is not None
        check_alike(rows)
        answers, labels = self._labels(rows, by_text(rows))
        if "input_ids" in rows[0]:
            taken = TEXT_COLUMNS if labels is None else (*TEXT_COLUMNS, *_LABELS)
            known = [{k: v for k, v in row.items() if k not in taken} for row in rows]
            batch = dict(DataCollatorWithPadding(self.tokenizer)(known))
            return batch if labels is None else batch | {"labels": torch.as_tensor(labels)}
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

    def _labels(
        self, rows: Sequence[Mapping[str, Any]], where: Where
    ) -> tuple[list[str] | None, torch.Tensor | list[Any] | None]:
        """Return labels that are answers in words; or else as the model wants them; or neither.

        Neither of rows without any, and of tokenized ones whose labels are padded along with the rest.
        """
        name = next((name for name in _LABELS if name in rows[0]), None)
        if name is None:
            return None, None
        labels = [row[name] for row in rows]
        if self.writes is not None and are_texts(labels):
            _check_answers(rows, labels, self.writes, where)
            return labels, None
        if self.head is not None:
            return None, self.head.labels(labels, where, name)
        is_raw = "input_ids" not in rows[0]
        wanted = "a number" if not self.words else _wanted_of_words(self.writes)
        for i, label in enumerate(labels):
            if label is None or (self.words and is_raw and _is_one(label)):
                raise wrong_label(i, labels, wanted, where, TrainingError, name)
        check_no_words(labels, where, TrainingError, name)
        return None, labels if is_raw else None

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


def _check_answers(rows: Sequence[Mapping[str, Any]], answers: list[Any], writes: str | None, where: Where) -> None:
    check_answers_of(answers, where, TrainingError)
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


def _wanted_of_words(writes: str | None) -> str:
    if writes is None:
        return "no label: the model predicts words. Type: objective='mention-mlm' (--objective mention-mlm)"
    return f"a text, since the model writes, such as {EXAMPLE_OF_ANSWER}"


def _is_one(label: Any) -> bool:
    """Return whether a label is one value, and not one for each token."""
    return getattr(label, "ndim", int(isinstance(label, (list, tuple)))) == 0


class _Head(NamedTuple):
    """A head that gives one answer for each text.

    Attributes:
        size: How many numbers it gives.
        kind: What they are: the ``problem_type`` of its config, or ``None`` for what the labels say.
    """

    size: int
    kind: str | None

    def labels(self, labels: list[Any], where: Where, name: str) -> torch.Tensor:
        """Return labels as its loss wants them: classes ``[rows]`` as int64, or numbers as float32.

        Whole numbers that became floats (as in a column with NaN elsewhere), and true and false, are classes where
        classes are told apart.
        """
        wanted, alternatives = self._wanted()
        options: dict[str, Any] = {"where": where, "error": TrainingError, "name": name}
        numbers = label_numbers(labels, wanted, self.size, **options)
        if numbers.ndim not in alternatives:
            raise wrong_label(0, labels, wanted, **options)
        if self.kind == "regression" or numbers.ndim == 2:
            return torch.as_tensor(numbers, dtype=torch.float32)
        advice = "Load the checkpoint that belongs to these labels, or give it num_labels=... before it is fine-tuned."
        return torch.as_tensor(class_numbers(numbers, self.size, **options, advice=advice, ignored=IGNORED))

    def _wanted(self) -> tuple[str, tuple[int, ...]]:
        """Return in words what a row may have, and of how many dimensions the labels of rows may be."""
        one = f"the number of a class from 0 to {self.size - 1}"
        several = f"0 and 1 for each of the head's {self.size} classes"
        if self.kind == "regression":
            return ("a number", (1, 2)) if self.size == 1 else (f"a list of {self.size} numbers", (2,))
        if self.kind == "single_label_classification":
            return one, (1,)
        return (several, (2,)) if self.kind == "multi_label_classification" else (f"{one}, or {several}", (1, 2))


def _head(model: torch.nn.Module) -> _Head | None:
    """Return what a head for sequences gives, ``None`` for any other, which says itself what it expects."""
    model = bare_model(model)
    config = getattr(model, "config", None)
    size, kind = getattr(config, "num_labels", None), getattr(config, "problem_type", None)
    if not type(model).__name__.endswith("ForSequenceClassification") or not size:
        return None
    # As transformers chooses the loss.
    return _Head(size, "regression" if kind is None and size == 1 else kind)


def _writes(model: torch.nn.Module) -> Literal["behind", "apart"] | None:
    """Return where a model writes a text that it is asked for, ``None`` if it does not write."""
    if not predicts_words(model) or not generates(model):
        return None
    return "apart" if is_encoder_decoder(model) else "behind"
