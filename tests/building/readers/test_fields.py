from __future__ import annotations

import pytest

from knowledge_plugin import Entity
from knowledge_plugin.building.readers.fields import MAX_NAME_CHARS, make_entity, match_columns
from knowledge_plugin.errors import ReaderError


def test_columns_are_known_in_any_order_and_case():
    assert match_columns("t", [" Label", "other", "ID"]) == {"id": "ID", "label": " Label"}
    assert match_columns("t", ["id", "City"], {"label": "city"}) == {"id": "id", "label": "City"}


@pytest.mark.parametrize(
    ("found", "columns", "message"),
    [
        (["id", "name"], None, "expected a column 'label', found 'id', 'name'.*columns="),
        (["id", "label"], {"aliases": "also"}, "'also'"),
        (["id", "label", "Label"], None, "one column 'label', found 2"),
        (["id", "label"], {"titel": "x"}, "expected some of id, label.*found titel"),
        ([], None, "found none"),
    ],
)
def test_a_column_that_is_missing_doubled_or_unknown_is_named(found, columns, message):
    with pytest.raises(ReaderError, match=message):
        match_columns("t.csv:1", found, columns)


def test_texts_become_what_an_entity_holds():
    values = {"id": " 7 ", "label": "Bonn ", "aliases": "B| |Bundesdorf", "description": " ", "popularity": "1e3"}
    assert make_entity("t", values, id_prefix="x:") == Entity("x:7", "Bonn", ("B", "", "Bundesdorf"), popularity=1000.0)
    assert make_entity("t", {"id": 7, "label": None, "aliases": ["B", None]}) == Entity("7", "", ("B",))


def test_not_a_number_is_how_a_data_frame_writes_that_there_is_nothing():
    nothing = dict.fromkeys(("label", "aliases", "description", "types", "popularity"), float("nan"))
    assert make_entity("t", {"id": "1"} | nothing) == Entity("1", "")
    assert make_entity("t", {"id": "1", "label": "a", "aliases": [float("nan"), "b"]}) == Entity("1", "a", ("b",))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id": "  ", "label": "a"}, "an id"),
        ({"id": None, "label": "a"}, "an id"),
        ({"id": True, "label": "a"}, "an id"),
        ({"id": float("nan"), "label": "a"}, "an id"),
        ({"id": "1", "label": 5}, "label: expected a text"),
        ({"id": "1", "label": "a", "aliases": {"x": 1}}, "aliases: expected a list"),
        ({"id": "1", "label": "a", "aliases": [3]}, "aliases"),
        ({"id": "1", "label": "a", "popularity": "many"}, "popularity"),
        ({"id": "1", "label": "a", "popularity": "nan"}, "popularity"),
        ({"id": "1", "label": "a", "popularity": "-1"}, "popularity"),
        ({"id": "1", "label": "a" * (MAX_NAME_CHARS + 1)}, "label: expected at most 10,000 characters"),
        ({"id": "1", "label": "a", "aliases": ["a" * 1_000_000]}, "aliases: .*found 1,000,000"),
        ({"id": "1", "label": "a", "description": "a" * 1_000_000}, "description: .*found 1,000,000"),
        ({"id": "1", "label": "a", "types": ["t"] * 100_001}, "types: expected at most 100,000"),
    ],
)
def test_what_no_entity_holds_is_refused_with_its_place_in_a_short_message(values, message):
    with pytest.raises(ReaderError, match=rf"^t\.csv:3: .*{message}") as caught:
        make_entity("t.csv:3", values)
    assert len(str(caught.value)) < 400
