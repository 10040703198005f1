from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from knowledge_plugin import Entity, KnowledgeBase
from knowledge_plugin.errors import KnowledgeBaseError


def test_lists_become_tuples():
    entity = Entity("x:1", "Ada", aliases=["A. L."], types=["person"])
    assert entity.aliases == ("A. L.",)
    assert entity.types == ("person",)
    assert hash(entity) == hash(Entity("x:1", "Ada", aliases=("A. L.",), types=("person",)))


def test_names_are_label_and_aliases_without_blanks_and_repetitions():
    assert Entity("x:1", "Ada", aliases=["A. L.", "Ada", " ", "A. L.", "Lovelace"]).names == (
        "Ada",
        "A. L.",
        "Lovelace",
    )
    assert Entity("x:1", "  ").names == ()


@pytest.mark.parametrize("identifier", ["", " ", "\t\n", "x:\x001", None, 5, b"x:1"])
def test_an_id_is_a_text_that_is_not_blank(identifier):
    with pytest.raises(KnowledgeBaseError, match="id"):
        Entity(identifier, "Ada")


def test_a_wrong_id_comes_with_the_label():
    with pytest.raises(KnowledgeBaseError, match=r"the id of 'Ada': expected a text .*, found 5\. Type: 'scheme:5'"):
        Entity(5, "Ada")


@pytest.mark.parametrize("field", ["aliases", "types"])
@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("Lovelace", r"\['Lovelace'\]"),
        ("A. L.,Lovelace", r"'A. L.,Lovelace'.split\(','\)"),
        ("A;L", r"'A;L'.split\(';'\)"),
        ("A|L", r"'A\|L'.split\('\|'\)"),
    ],
)
def test_a_text_is_no_list_of_texts(field, value, hint):
    with pytest.raises(KnowledgeBaseError, match=rf"'x:1': {field}: expected a list of texts, .* Type: {hint}"):
        Entity("x:1", "Ada", **{field: value})


@pytest.mark.parametrize("field", ["aliases", "types"])
def test_no_list_is_an_empty_list(field):
    assert getattr(Entity("x:1", "Ada", **{field: None}), field) == ()


@pytest.mark.parametrize("field", ["aliases", "types"])
@pytest.mark.parametrize("value", [math.nan, 5, b"a", {"en": "Ada"}])
def test_what_is_no_list_of_texts(field, value):
    with pytest.raises(KnowledgeBaseError, match=rf"'x:1': {field}: expected a list of texts"):
        Entity("x:1", "Ada", **{field: value})


@pytest.mark.parametrize("value", [["a", "b"], ("a", "b"), np.array(["a", "b"]), (x for x in "ab")])
def test_any_sequence_of_texts_will_do(value):
    assert Entity("x:1", "Ada", aliases=value).aliases == ("a", "b")


@pytest.mark.parametrize(
    "changes",
    [
        {"label": None},
        {"label": 5},
        {"label": math.nan},
        {"aliases": [None]},
        {"aliases": ["a", 5]},
        {"types": [1]},
        {"types": ["a", math.nan]},
        {"description": math.nan},
        {"description": 5},
        {"description": ["a"]},
    ],
)
def test_texts_are_texts(changes):
    (field,) = changes
    with pytest.raises(KnowledgeBaseError, match=f"'x:1': {field}: expected a text"):
        Entity(**{"id": "x:1", "label": "Ada"} | changes)


@pytest.mark.parametrize("changes", [{"description": math.nan}, {"popularity": math.nan}, {"aliases": math.nan}])
def test_a_missing_value_of_pandas_is_none(changes):
    with pytest.raises(KnowledgeBaseError, match="NaN stands for a missing value in pandas; here it is None"):
        Entity("x:1", "Ada", **changes)


@pytest.mark.parametrize("popularity", [-1, math.nan, math.inf, -math.inf, 10**400, "12", "many", True, 1j, [1]])
def test_popularity_is_a_number_from_0_up(popularity):
    with pytest.raises(KnowledgeBaseError, match="'x:1': popularity: expected a number from 0 up"):
        Entity("x:1", "Ada", popularity=popularity)


def test_a_popularity_in_a_text_comes_with_what_to_type():
    with pytest.raises(KnowledgeBaseError, match=r"Type: float\('12'\)"):
        Entity("x:1", "Ada", popularity="12")


@pytest.mark.parametrize(
    "popularity", [12, 12.0, np.int64(12), np.float32(12), np.uint8(12), Fraction(12), Decimal(12)], ids=type
)
def test_any_real_number_is_a_popularity(popularity):
    entity = Entity("x:1", "Ada", popularity=popularity)
    assert entity == Entity("x:1", "Ada", popularity=12)
    assert KnowledgeBase.from_entities([entity], [[1.0]], name="t")["x:1"] == entity


def test_an_entity_does_not_change():
    with pytest.raises(AttributeError):
        Entity("x:1", "Ada").label = "Bob"
