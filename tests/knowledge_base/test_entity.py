from __future__ import annotations

import math

import pytest

from knowledge_plugin import Entity
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


@pytest.mark.parametrize("field", ["aliases", "types"])
def test_a_text_is_no_list_of_texts(field):
    with pytest.raises(KnowledgeBaseError, match=r"Type: \['Lovelace'\]"):
        Entity("x:1", "Ada", **{field: "Lovelace"})


@pytest.mark.parametrize("changes", [{"label": None}, {"label": 5}, {"aliases": [None]}, {"aliases": ["a", 5]}])
def test_names_are_texts(changes):
    with pytest.raises(KnowledgeBaseError, match="expected a text"):
        Entity(**{"id": "x:1", "label": "Ada"} | changes)


@pytest.mark.parametrize("popularity", [-1, math.nan, math.inf, -math.inf])
def test_popularity_is_a_number_from_0_up(popularity):
    with pytest.raises(KnowledgeBaseError, match="popularity"):
        Entity("x:1", "Ada", popularity=popularity)


def test_an_entity_does_not_change():
    with pytest.raises(AttributeError):
        Entity("x:1", "Ada").label = "Bob"
