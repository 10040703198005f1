"""The rows that are evaluated: read once, checked, and linked once for all conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from knowledge_plugin.data_rows import (
    EXAMPLE,
    by_number,
    check_answers_of,
    check_rows,
    check_texts,
    class_numbers,
    label_numbers,
    wrong_label,
)
from knowledge_plugin.errors import EvaluationError
from knowledge_plugin.injection.answers import Answered, join_answer
from knowledge_plugin.injection.source import KnowledgeSource
from knowledge_plugin.linking.mention import Mention


@dataclass(frozen=True)
class Rows:
    """Texts, and what belongs to each.

    Attributes:
        texts: The texts.
        pairs: Second texts, if there are any.
        labels: What the dataset says is right, as it stands there; ``None`` where it has no such column.
        mentions: The linked mentions of each text, whose entities are in the knowledge base.
        pair_mentions: The same of the second texts.
        answers: Where the answer stands in each text, if it is one that stands there; it mentions nothing.
    """

    texts: list[str]
    pairs: list[str] | None
    labels: list[Any] | None
    mentions: list[list[Mention]]
    pair_mentions: list[list[Mention]] | None
    answers: list[Answered] | None = None

    def __len__(self) -> int:
        return len(self.texts)


def read_rows(dataset: Iterable[Mapping[str, Any]], source: KnowledgeSource) -> Rows:
    """Read a dataset and link it.

    Args:
        dataset: Rows with ``text`` and ``label``, perhaps ``text_pair`` and ``mentions``: a list, a dataset of
            ``datasets``, or anything else that gives mappings.
        source: Finds mentions where the rows do not say them, and knows the entities.

    Raises:
        EvaluationError: No rows, or not of that form.
        MentionError: A mention does not fit its text.
        LinkingError: Nothing finds mentions, and none are given.
    """
    rows = list(dataset)
    check_rows(dataset, rows, EvaluationError)
    texts = _column(rows, "text")
    if texts is None:
        raise EvaluationError(
            f"a row of the dataset has the columns {sorted(map(str, rows[0]))}; expected 'text' and 'label'. Rows that "
            "are tokenized cannot be read with and without knowledge."
        )
    pairs, given = _column(rows, "text_pair"), _column(rows, "mentions")
    check_texts(rows, by_number, EvaluationError)
    in_pairs: list[list[Mention]] | None = None
    if pairs is not None:
        # Where mentions are given without a linker, those of second texts are simply not known.
        in_pairs = source.find(pairs) if source.linker is not None else [[] for _ in pairs]
    return Rows(
        texts,
        pairs,
        labels=next((column for name in ("label", "labels") if (column := _column(rows, name)) is not None), None),
        mentions=source.find(texts) if given is None else source.given(given, texts),
        pair_mentions=in_pairs,
    )


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any] | None:
    having = sum(name in row for row in rows)
    if having not in (0, len(rows)):
        without = by_number(next(i for i, row in enumerate(rows) if name not in row))
        raise EvaluationError(
            f"{name!r} is in {having} of {len(rows)} rows: expected it in each, or in none. {without} has none."
        )
    return [row[name] for row in rows] if having else None


def with_answers(rows: Rows, mask_token: str | None = None) -> Rows:
    """Write the labels, which are texts, into the texts themselves.

    Args:
        rows: With a text as the label of each.
        mask_token: What a label takes the place of; ``None`` puts it behind the text.

    Returns:
        Rows with ``answers``. Their mentions are those of the texts without labels.

    Raises:
        EvaluationError: A label is empty or no text, or the mask token is not in a text just once.
    """
    labels: list[Any] = rows.labels or []
    check_answers_of(labels, by_number, EvaluationError)
    if mask_token is None:
        answers = [join_answer(text, label) for text, label in zip(rows.texts, labels, strict=True)]
        return replace(rows, texts=[each.text for each in answers], answers=answers)
    answers, mentions = [], []
    for text, label, found in zip(rows.texts, labels, rows.mentions, strict=True):
        if text.count(mask_token) != 1:
            raise EvaluationError(
                f"the text {text!r:.80} has the label {label!r:.80}: expected {mask_token} once in the text, where "
                f"the label belongs, found it {text.count(mask_token)} times. Leave out 'label' for a model that is to "
                "be asked for the mentions."
            )
        before, after = text.split(mask_token)
        answer = Answered(before + label + after, len(before), len(before) + len(label))
        mask_end, shift = len(before) + len(mask_token), len(label) - len(mask_token)
        answers.append(answer)
        mentions.append(
            [m for m in found if m.end <= answer.start]
            + [m._replace(start=m.start + shift, end=m.end + shift) for m in found if m.start >= mask_end]
        )
    return replace(rows, texts=[each.text for each in answers], mentions=mentions, answers=answers)


def class_labels(labels: Sequence[Any] | None, classes: int) -> torch.Tensor:
    """Return labels as int64: the class ``[rows]``, 0 and 1 for each class ``[rows, classes]``; or float64 numbers.

    Raises:
        EvaluationError: There are none, or they are none of a head of so many classes.
    """
    if labels is None:
        raise EvaluationError(f"the rows have no 'label': expected rows such as {EXAMPLE}.")
    several = f"0 and 1 for each of the head's {classes} classes"
    wanted = "a number" if classes == 1 else f"the number of a class from 0 to {classes - 1}, or {several}"
    numbers = label_numbers(labels, wanted, classes, by_number, EvaluationError, "label")
    if numbers.ndim == 2:
        if (wrong := np.flatnonzero(~np.isin(numbers, (0, 1)).all(1))).size:
            raise wrong_label(int(wrong[0]), labels, several, by_number, EvaluationError, "label")
        return torch.as_tensor(numbers.astype(np.int64))
    if classes == 1:
        return torch.as_tensor(numbers)
    advice = "Load the checkpoint that belongs to these labels; leave rows out that are not to be scored."
    return torch.as_tensor(class_numbers(numbers, classes, by_number, EvaluationError, "label", advice))


def clusters_of(entities: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the cluster of each row, int64 ``[rows]``: rows whose first entity is the same are one.

    A row that mentions nothing is a cluster of its own.

    Example:
        >>> clusters_of([["x:1"], [], ["x:2", "x:1"], ["x:1", "x:3"], []]).tolist()
        [0, 1, 2, 0, 3]
    """
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(found[0] if found else i, len(numbers)) for i, found in enumerate(entities)])
