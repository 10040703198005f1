from __future__ import annotations

import numpy as np
import pytest
import torch

from knowledge_plugin.errors import ArtifactError, KnowledgeBaseError, UnknownRowError
from knowledge_plugin.knowledge_base.rows import check_priors, check_rows, row_number, row_numbers


@pytest.mark.parametrize("row", [2, np.int64(2), np.uint8(2), torch.tensor(2)])
def test_a_row_number(row):
    found = row_number(row, 3)
    assert found == 2
    assert type(found) is int


@pytest.mark.parametrize("row", [3, -1, 10**30, torch.tensor(99)])
def test_a_row_number_out_of_range(row):
    with pytest.raises(UnknownRowError, match=r"row: expected a number from 0 to 2, found -?\d+\."):
        row_number(row, 3)


@pytest.mark.parametrize("row", [True, "1", 1.0, None, [1], torch.tensor(0.5), torch.tensor([0, 1])])
def test_what_is_no_row_number(row):
    with pytest.raises(KnowledgeBaseError, match="row: expected a whole number"):
        row_number(row, 3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint64])
def test_rows_of_any_whole_dtype(dtype):
    found = row_numbers(torch.tensor([2, 0], dtype=dtype), 3)
    assert found.dtype == torch.int64
    assert found.tolist() == [2, 0]


@pytest.mark.parametrize(
    "rows", [torch.tensor([True, False]), torch.tensor([1j]), np.array([True]), [True, False], torch.tensor(1)]
)
def test_rows_of_another_dtype(rows):
    with pytest.raises(KnowledgeBaseError, match=r"rows: expected whole numbers \[n\]"):
        row_numbers(rows, 3)


@pytest.mark.parametrize("rows", [[3], [-1], np.array([2**64 - 1], np.uint64), torch.tensor([0, 300])])
def test_rows_out_of_range(rows):
    with pytest.raises(UnknownRowError, match="rows: expected numbers from 0 to 2"):
        row_numbers(rows, 3)


def test_who_expects_an_index_error_catches_ours():
    assert issubclass(UnknownRowError, IndexError)


@pytest.mark.parametrize("rows", [[3], [-1], [0, 2**40]])
def test_names_that_lead_nowhere(rows):
    with pytest.raises(ArtifactError, match=r"here: .* rows that are not there \(0 to 2 are\)"):
        check_rows(np.array(rows), 3, "here")


@pytest.mark.parametrize("priors", [[1.5], [-0.1], [float("nan")], [0.5, float("inf")]])
def test_priors_that_are_no_shares(priors):
    with pytest.raises(ArtifactError, match=r"here: .* no share from 0 to 1"):
        check_priors(np.array(priors, np.float32), "here")


def test_names_that_lead_to_rows():
    check_rows(np.array([0, 2]), 3, "here")
    check_rows(np.array([], np.int64), 3, "here")
    check_priors(np.array([0.0, 1.0], np.float32), "here")
    check_priors(np.array([], np.float32), "here")
