from __future__ import annotations

import pytest

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, Mention
from knowledge_plugin.errors import EvaluationError
from knowledge_plugin.evaluation.readings import describe, linked_entities, read_described, read_linked, read_plain
from knowledge_plugin.evaluation.rows import read_rows
from tests import tiny

TEXTS = ["the museum in paris opened", "berlin and new york", "nothing to see", "paris"]


@pytest.fixture
def described():
    entities = [
        Entity("geo:paris", "Paris", description=" a town by the river "),
        Entity("geo:new-york", "New York", description="a big apple"),
        Entity("geo:berlin", "Berlin", description="  "),
    ]
    return KnowledgeBase.from_entities(entities, [[0.0], [1.0], [2.0]], name="cities")


@pytest.fixture
def attachment(tokenizer, described):
    model = tiny.classifier()
    with KnowledgePlugin.for_model(model, described).attach(model, tokenizer) as attachment:
        yield attachment


@pytest.fixture
def rows(attachment):
    return read_rows([{"text": text} for text in TEXTS], attachment.source)


def words_after_the_first(reading, row):
    """A text's first word may be other tokens after a blank."""
    tokens = zip(reading.features[row]["input_ids"], reading.spans[row], strict=True)
    return [(token, span) for token, span in tokens if span[0] >= len(TEXTS[row].split()[0])]


def test_plain_texts_are_what_the_tokenizer_makes_of_them(rows, tokenizer):
    reading = read_plain(rows, tokenizer)
    assert [row["input_ids"] for row in reading.features] == tokenizer(TEXTS)["input_ids"]
    assert reading.tokens == sum(map(len, tokenizer(TEXTS)["input_ids"]))


def test_linked_texts_are_what_the_attached_tokenizer_makes_of_them(rows, attachment):
    reading = read_linked(rows, attachment)
    assert [row["input_ids"] for row in reading.features] == attachment.tokenizer(TEXTS)["input_ids"]
    found = linked_entities(reading, attachment.source)
    assert found == [["geo:paris"], ["geo:berlin", "geo:new-york"], [], ["geo:paris"]]


def test_mentions_that_were_truncated_away_are_not_counted(rows, attachment):
    reading = read_linked(rows, attachment, max_length=4)
    assert linked_entities(reading, attachment.source)[0] == []


def test_descriptions_stand_before_the_text(rows, tokenizer, described):
    reading, cut = read_described(rows, tokenizer, described)
    expected = [
        "Paris: a town by the river the museum in paris opened",
        "New York: a big apple berlin and new york",
        "nothing to see",
        "Paris: a town by the river paris",
    ]
    assert [row["input_ids"] for row in reading.features] == tokenizer(expected)["input_ids"]
    assert cut == 0


def test_spans_are_those_of_the_text_itself(rows, tokenizer, described):
    """Ordinary words stand at the same characters in every reading; what stands before them, nowhere."""
    plain, (reading, _) = read_plain(rows, tokenizer), read_described(rows, tokenizer, described)
    for row in range(len(TEXTS)):
        assert words_after_the_first(reading, row) == words_after_the_first(plain, row)
        assert all(0 <= start <= end <= len(TEXTS[row]) for start, end in reading.spans[row])


def test_without_the_label(rows, described):
    assert describe(["geo:paris", "geo:berlin", "geo:paris"], described, "{description}") == "a town by the river "
    assert describe(["geo:berlin"], described) == describe([], described) == ""


def test_descriptions_are_cut_where_the_text_would_not_fit(rows, tokenizer, described):
    plain = read_plain(rows, tokenizer)
    limit = max(len(row["input_ids"]) for row in plain.features)
    reading, cut = read_described(rows, tokenizer, described, max_length=limit)
    assert cut >= 1
    assert all(len(row["input_ids"]) <= limit for row in reading.features)
    for row in range(len(TEXTS)):
        assert words_after_the_first(reading, row) == words_after_the_first(plain, row)


def test_no_description_at_all(rows, tokenizer, attachment):
    bare = KnowledgeBase.from_entities(
        [Entity(e.id, e.label) for e in attachment.source.knowledge_base], [[0.0]] * 3, name="b"
    )
    with pytest.raises(EvaluationError, match=r"none of the linked entities has a description .* description=\.\.\."):
        read_described(rows, tokenizer, bare)


def test_pairs(attachment, tokenizer, described):
    rows = read_rows([{"text": "in paris", "text_pair": "in berlin"}], attachment.source)
    assert read_plain(rows, tokenizer).features[0]["input_ids"] == tokenizer("in paris", "in berlin").input_ids
    linked = read_linked(rows, attachment)
    assert linked_entities(linked, attachment.source) == [["geo:paris", "geo:berlin"]]
    assert [span for span in linked.spans[0] if span[1] > len("in paris")] == []
    reading, _ = read_described(rows, tokenizer, described)
    assert reading.features[0]["input_ids"] == tokenizer("Paris: a town by the river in paris", "in berlin").input_ids


def test_a_tokenizer_that_cannot_pad(described):
    tokenizer = tiny.tokenizer("byte_bpe")
    tokenizer.pad_token = None
    model = tiny.classifier()
    with KnowledgePlugin.for_model(model, described).attach(model, tokenizer) as attachment:
        rows = read_rows([{"text": "in paris", "mentions": [Mention(3, 8, "geo:paris")]}], attachment.source)
        with pytest.raises(EvaluationError, match=r"tokenizer\.pad_token = tokenizer\.eos_token"):
            read_plain(rows, tokenizer)
