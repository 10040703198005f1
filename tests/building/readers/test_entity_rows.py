"""From the rows of a table to entities."""

from __future__ import annotations

import pytest

from knowledge_plugin.building.readers.entity_rows import EntityRows, match_and_warn
from knowledge_plugin.errors import ReaderError


def test_an_entity_of_a_row():
    rows = EntityRows("t.csv", separator=";", id_prefix="x:")
    entity = rows.entity(2, {"id": "1", "label": "Ada", "aliases": "A;B", "description": "nan"})
    assert (entity.id, entity.label, entity.aliases, entity.description) == ("x:1", "Ada", ("A", "B"), None)
    with pytest.warns(UserWarning, match=r"t\.csv: 1 cells .*\(the first in line 2: 'nan'\)"):
        rows.finish()


@pytest.mark.parametrize(("unit", "place"), [("line", r"t:3: "), ("row", r"t: row 3: ")])
def test_an_error_names_the_place(unit, place):
    with pytest.raises(ReaderError, match=place):
        EntityRows("t", unit).entity(3, {"id": "", "label": "Ada"})


def test_an_id_is_there_once():
    rows = EntityRows("t.csv")
    with pytest.raises(ReaderError, match="x:1"):
        for line in (2, 3):
            rows.entity(line, {"id": "x:1", "label": "Ada"})
        rows.finish()


def test_columns_that_are_not_used_are_said():
    with pytest.warns(UserWarning, match=r"'alias' \(did you mean aliases\?\)"):
        assert match_and_warn("t.csv:1", ["id", "label", "alias"]) == {"id": "id", "label": "label"}
