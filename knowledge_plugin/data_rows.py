"""What rows of a dataset must be, to learn from or to be measured by: texts, and labels that a head can have.

Each check names the row: by its number where a whole dataset is looked at, by its text where a batch is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from knowledge_plugin.errors import KnowledgePluginError
from knowledge_plugin.injection.answers import check_answers

EXAMPLE = '{"text": "The museum in Graz opened.", "label": 3}'
EXAMPLE_OF_ANSWER = '{"text": "Ada lives in", "label": "Graz"}'
TEXTS = ("text", "text_pair")

Where = Callable[[int], str]  # from the place of a row to what it is called
Error = type[KnowledgePluginError]


def by_number(i: int) -> str:
    """Call a row of a dataset by its number, from 1.

    Example:
        >>> by_number(0)
        'row 1'
    """
    return f"row {i + 1}"


def by_text(rows: Sequence[Mapping[str, Any]]) -> Where:
    """Return what calls a row of a batch by its text.

    Example:
        >>> by_text([{"text": "In York."}])(0)
        "the row 'In York.'"
    """

    def where(i: int) -> str:
        return next((f"the row {rows[i][name]!r:.80}" for name in TEXTS if isinstance(rows[i].get(name), str)), "a row")

    return where


def check_rows(dataset: Any, rows: Sequence[Any], error: Error) -> None:
    """Make sure that there are rows, and that they are such.

    Args:
        dataset: What they were taken from.
        rows: Some of its rows, from the first on.
        error: What is raised if not.
    """
    if isinstance(dataset, Mapping) and dataset:
        raise error(f"expected the rows of one dataset, found several: type dataset[{next(iter(dataset))!r:.80}].")
    if not len(rows):
        raise error(f"the dataset is empty: expected rows such as {EXAMPLE}.")
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise error(f"{by_number(i)}: expected a row such as {EXAMPLE}, found {row!r:.80}.")


def check_texts(rows: Sequence[Mapping[str, Any]], where: Where, error: Error) -> None:
    """Make sure that the texts of rows are texts."""
    for name in TEXTS:
        for i, row in enumerate(rows):
            if name in row and not isinstance(row[name], str):
                raise error(f"{where(i)}: {name}: expected a text in each row, found {row[name]!r:.80}.")


# ---- labels ----------------------------------------------------------------------------------------------------------


def check_answers_of(labels: Sequence[Any], where: Where, error: Error) -> None:
    """Make sure that labels that are answers in words say something, all of them."""
    for i, label in enumerate(labels):
        try:
            check_answers([label], error)
        except error as found:
            raise error(f"{where(i)}: {found}") from None


def check_no_words(labels: Sequence[Any], where: Where, error: Error, name: str) -> None:
    """Make sure that labels are none in words, of a head that has numbers."""
    if (word := next((i for i, label in enumerate(labels) if isinstance(label, str)), None)) is not None:
        raise error(
            f"{where(word)} has the {name} {labels[word]!r:.80}; expected a number. Type: row[{name!r}] = "
            f"model.config.label2id[row[{name!r}]]"
        )


def label_numbers(labels: Sequence[Any], wanted: str, width: int, where: Where, error: Error, name: str) -> np.ndarray:
    """Return labels as float64: a number for each row ``[rows]``, or several ``[rows, width]``.

    Args:
        labels: Whatever a dataset has; numbers of numpy or torch too, and true and false.
        wanted: In words, for the message.
        width: How many numbers there may be for a row that has several.
        where: What a row is called.
        error: What is raised if a label is missing, is NaN or is no number, or some rows have one and others several.
        name: What the column is called.

    Example:
        >>> label_numbers([1.0, True, 0], "a number", 3, by_number, ValueError, "label").tolist()
        [1.0, 1.0, 0.0]
    """
    check_no_words(labels, where, error, name)
    numbers = _as_numbers(labels)
    if numbers is not None and _is_finite(numbers, width) and len(numbers) == len(labels):
        return numbers
    found = [_as_numbers(label) for label in labels]
    wrong = next((i for i, one in enumerate(found) if one is None or not _is_finite(one[None], width)), None)
    if wrong is None:  # each of them will do, not all of them together
        wrong = next(i for i, one in enumerate(found) if one.shape != found[0].shape)  # type: ignore[union-attr]
    raise wrong_label(wrong, labels, wanted, where, error, name)


def wrong_label(
    i: int, labels: Sequence[Any], wanted: str, where: Where, error: Error, name: str
) -> KnowledgePluginError:
    """Return the error that says what the label of a row is, and what it should be."""
    number = _as_numbers(labels[i])
    is_missing = number is not None and not number.shape and bool(np.isnan(number))
    advice = " Leave out rows without an answer." if is_missing else ""
    return error(f"{where(i)} has the {name} {labels[i]!r:.80}; expected {wanted}.{advice}")


def class_numbers(
    numbers: np.ndarray, classes: int, where: Where, error: Error, name: str, advice: str, ignored: int | None = None
) -> np.ndarray:
    """Return the classes ``[rows]`` that numbers stand for, as int64.

    Args:
        numbers: ``[rows]``, finite.
        classes: How many the head tells apart.
        where: What a row is called.
        error: What is raised if one is no class of the head.
        name: What the column is called.
        advice: What to do about a class that the head has not.
        ignored: A number that stands for no class, and may be there.
    """
    if (broken := np.flatnonzero(numbers != np.trunc(numbers))).size:
        i = int(broken[0])
        wanted = f"the number of a class from 0 to {classes - 1}"
        raise error(f"{where(i)} has the {name} {float(numbers[i])}; expected {wanted}.")
    outside = np.flatnonzero(((numbers < 0) | (numbers >= classes)) & (numbers != ignored))
    if outside.size:
        i = int(outside[0])
        raise error(
            f"{where(i)} has the {name} {int(numbers[i])}, but the model's head has {classes} classes: expected a "
            f"number from 0 to {classes - 1}. {advice}"
        )
    return numbers.astype(np.int64)


def _as_numbers(values: Any) -> np.ndarray | None:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None


def _is_finite(numbers: np.ndarray, width: int) -> bool:
    return numbers.shape[1:] in ((), (width,)) and bool(np.isfinite(numbers).all())
