from __future__ import annotations

import numpy as np
import pytest
import torch

from knowledge_plugin.data_rows import by_number, by_text, check_rows, check_texts, class_numbers, label_numbers
from knowledge_plugin.errors import EvaluationError


def numbers(labels, width=3):
    return label_numbers(labels, "a number", width, by_number, EvaluationError, "label")


@pytest.mark.parametrize(
    "labels",
    [[1, 0], [1.0, False], (True, 0.0), np.array([1, 0]), [np.float32(1), np.int8(0)], [torch.tensor(1), 0]],
)
def test_numbers_of_any_kind(labels):
    assert numbers(labels).tolist() == [1.0, 0.0]


def test_several_numbers_a_row():
    assert numbers([[1, 0, 0], (0, 1, 1)]).tolist() == [[1, 0, 0], [0, 1, 1]]
    assert numbers([torch.tensor([1, 0, 0]), np.zeros(3)]).tolist() == [[1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (None, "None"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ([1, 0], r"\[1, 0\]"),
        ([1, 0, 0], r"\[1, 0, 0\]"),
        ([[1, 0, 0]], r"\[\[1, 0, 0\]\]"),
        ([], r"\[\]"),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_a_wrong_one_is_named(wrong, found):
    with pytest.raises(EvaluationError, match=f"^row 3 has the label {found}; expected a number"):
        numbers([1, 0, wrong, wrong])


def test_only_what_is_missing_is_said_to_be():
    with pytest.raises(EvaluationError, match="Leave out rows without an answer"):
        numbers([1, None])
    with pytest.raises(EvaluationError) as raised:
        numbers([1, [1]])
    assert "Leave out" not in str(raised.value)


def test_classes():
    options = {"where": by_number, "error": EvaluationError, "name": "label", "advice": "Look."}
    assert class_numbers(np.array([2.0, -100.0]), 3, **options, ignored=-100).tolist() == [2, -100]
    with pytest.raises(EvaluationError, match=r"row 2 has the label -100, but .* from 0 to 2. Look."):
        class_numbers(np.array([2.0, -100.0]), 3, **options)
    with pytest.raises(EvaluationError, match=r"row 1 has the label 1.5; expected the number of a class from 0 to 2"):
        class_numbers(np.array([1.5]), 3, **options)


def test_rows_and_texts():
    with pytest.raises(EvaluationError, match="the dataset is empty"):
        check_rows([], [], EvaluationError)
    rows = [{"text": "a"}, {"text": "b", "text_pair": 1}]
    check_rows(rows, rows, EvaluationError)
    with pytest.raises(EvaluationError, match=r"row 2: text_pair: expected a text in each row, found 1"):
        check_texts(rows, by_number, EvaluationError)
    with pytest.raises(EvaluationError, match="the row 'b': text_pair"):
        check_texts(rows, by_text(rows), EvaluationError)
    assert by_text([{"input_ids": [1]}])(0) == "a row"
