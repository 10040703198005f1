from __future__ import annotations

import pytest

from knowledge_plugin.building.readers.seen import _BATCH, SeenIds
from knowledge_plugin.errors import ReaderError
from tests.building.readers.files import MIB, peak

COUNT = 5 * _BATCH + 7


def fill(seen: SeenIds, count: int = COUNT) -> SeenIds:
    for line in range(1, count + 1):
        seen.add(f"Q{line}", line)
    return seen


@pytest.mark.parametrize("first", [1, _BATCH, _BATCH + 1, 3 * _BATCH + 5, COUNT])
def test_a_repetition_is_found_wherever_the_first_one_was(first):
    seen = fill(SeenIds("a.csv"))
    with pytest.raises(
        ReaderError, match=rf"a\.csv:{COUNT + 1}: the id 'Q{first}' was there before, in line {first}\."
    ):
        seen.add(f"Q{first}", COUNT + 1)
        seen.finish()


def test_ids_that_differ_are_fine():
    fill(SeenIds("a.csv")).finish()


def test_a_near_repetition_is_said_at_once():
    seen = SeenIds("a", "row")
    seen.add("x", 3)
    with pytest.raises(ReaderError, match="in row 3"):
        seen.add("x", 4)


def test_an_id_costs_a_few_bytes():
    assert peak(lambda: fill(SeenIds("a"), 100_000).finish()) < 12 * MIB
