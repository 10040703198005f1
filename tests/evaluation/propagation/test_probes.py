"""A probe is checked where it is made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin.errors import EvaluationError
from knowledge_plugin.evaluation.propagation import EntityProbe

GOOD = {
    "id": "x_0", "entity_id": "x", "entity": "Zorva", "definition": "Zorva is a comedy.",
    "before": "people like Zorva and", "after": " a lot", "gold": "laugh", "options": ("laugh", "cry"), "file": "shows",
}  # fmt: skip


def probe(**changes):
    return EntityProbe(**(GOOD | changes))


def test_a_sentence_has_one_blank_before_what_is_filled_in():
    assert probe().sentence("cry") == "people like Zorva and cry a lot"
    assert probe(before="people like Zorva and   ").sentence("cry") == "people like Zorva and cry a lot"
    assert probe(before="").sentence("cry") == "cry a lot"


@pytest.mark.parametrize(
    ("definition", "gold", "easy"),
    [
        ("It is a Comedy.", "comedy", True),
        ("It is a comedy, and sad.", "a comedy", True),
        ("The party is over.", "art", False),
        ("C++ is a language.", "C++", True),
        ("", "comedy", False),
    ],
)
def test_easy_is_what_the_definition_says_in_whole_words(definition, gold, easy):
    assert probe(definition=definition, gold=gold, options=()).easy is easy


def test_where_an_entity_is_named():
    found = list(probe(before="Zorva and Zorvas like", after=" Zorva.").name_places())
    text = "Zorva and Zorvas like Zorva."
    assert [text[a:b] for a, b in found] == ["Zorva", "Zorva"]
    assert found == [(0, 5), (22, 27)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gold": " "}, "gold: expected a text that is not blank"),
        ({"gold": 3}, "gold: expected a text, found 3"),
        ({"entity": None}, "entity: expected a text, found nothing"),
        ({"before": "x" * 20_001}, "before: expected at most 20,000 characters"),
        ({"after": "\0"}, "after: expected Unicode text"),
        ({"definition": "\ud800"}, "definition: expected Unicode text"),
        ({"options": ("laugh", "laugh")}, "options: expected two texts or more, each once"),
        ({"options": ("laugh",)}, "options: expected two texts or more"),
        ({"options": ("cry", "sing")}, "gold: expected one of the options"),
        ({"options": "laugh"}, "options: expected a list of at most 1000 texts"),
        ({"options": tuple(map(str, range(1001)))}, "options: expected a list of at most 1000 texts"),
    ],
)
def test_what_is_no_probe(changes, message):
    with pytest.raises(EvaluationError, match=message):
        probe(**changes)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_name_is_found_where_it_stands_alone(name):
    if name.strip():
        made = probe(entity=name, before=f"( {name.strip()} )", after="")
        assert (2, 2 + len(name.strip())) in [*made.name_places()]
