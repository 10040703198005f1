"""Records as texts: what is shown, what is masked, and what models learn from."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge_plugin.building import Record, Template, training_examples
from knowledge_plugin.building.field_masking import template_for
from knowledge_plugin.building.records import FIELDS
from knowledge_plugin.errors import RecordError
from tests.building import models

FULL = Record("it rains", "what then", "it gets wet", 0.875)
words = st.none() | st.sampled_from(["a", "it rains", "the street gets wet"])
records = st.builds(Record, words, words, words, st.none() | st.sampled_from([0.0, 0.5, 1.0]))


def test_several_fields_have_a_sentinel_each():
    found = Template("seq2seq").masked(FULL, ["plausibility", "query"])
    assert found.input == "context: it rains query: <extra_id_0> inference: it gets wet plausibility: <extra_id_1>"
    assert found.target == "<extra_id_0> what then <extra_id_1> 0.9 <extra_id_2>"


def test_a_causal_model_goes_on_with_what_is_asked_for():
    found = Template("causal", prefix="Facts.\n").masked(FULL, ["inference", "plausibility"], show=["context"])
    assert found.input + found.target == "Facts.\ncontext: it rains\ninference: it gets wet\nplausibility: 0.9\n"
    assert found.input.endswith("inference:")


def test_what_a_text_says_is_not_taken_for_the_form():
    found = Template("seq2seq").masked(Record("a\nb <extra_id_0>", "q"), ["query"])
    assert found.input == "context: a b <extra-id-0> query: <extra_id_0>"


def test_an_answer_ends_with_its_line_or_the_next_field():
    assert Template("causal").answer(" it gets wet\nquery: why") == "it gets wet"
    assert Template("causal").answer("it gets wet query: why") == "it gets wet"
    assert Template("causal").answer("it gets wet plausibility : 1. 0") == "it gets wet"
    assert Template("causal").answer("a query is asked") == "a query is asked"
    assert Template("causal").answer("\nit gets wet\nquery: why") == "it gets wet"


@pytest.mark.parametrize("text", ["\nplausibility: 1.0\n", "plausibility: 1.0", " \n\nquery : why", "\n", ""])
def test_where_the_next_field_comes_at_once_nothing_was_written(text):
    assert Template("causal").answer(text) == ""


def test_the_hash_is_of_all_that_is_shown():
    templates = [
        Template("seq2seq"),
        Template("causal"),
        Template("causal", query="Q:"),
        Template("causal", prefix="a"),
    ]
    assert len({template.hash for template in templates}) == 4
    assert Template("causal").hash == Template("causal").hash


@settings(max_examples=30, deadline=None)
@given(st.lists(records, max_size=5), st.integers(0, 99))
def test_every_field_is_masked_shown_or_left_out(given_records, seed):
    found = list(training_examples(given_records, seed))
    assert found == list(training_examples(given_records, seed))
    able = [record for record in given_records if record.known]
    assert len(found) == len(able)
    for record, row in zip(able, found, strict=True):
        masked = re.findall(r"(\w+): <extra_id_\d>", row["input"])
        named = re.findall(r"(\w+):", row["input"])
        assert masked
        assert set(masked) <= set(named) <= set(record.known)
        assert named == [name for name in FIELDS if name in named]
        assert len(re.findall(r"<extra_id_\d>", row["target"])) == len(masked) + 1


def test_all_directions_come_and_a_fixed_one_stays():
    found = Counter(row["input"].count("<extra_id_") for row in training_examples([FULL] * 400, 0))
    assert set(found) == {1, 2, 3, 4}
    assert min(found.values()) > 30
    fixed = [row["input"] for row in training_examples([FULL] * 50, 0, ask=["inference"], left_out=0.5)]
    assert all(text.endswith("inference: <extra_id_0>") or "inference: <extra_id_0> plaus" in text for text in fixed)
    assert len(set(fixed)) > 4
    assert list(training_examples([Record("a")], 0, ask=["query"])) == []


def test_what_cannot_be_asked():
    with pytest.raises(RecordError, match="found 'answer'"):
        Template("causal").masked(FULL, ["answer"])
    with pytest.raises(RecordError, match="found none"):
        Template("causal").masked(FULL, [])
    with pytest.raises(RecordError, match="left_out"):
        list(training_examples([FULL], 0, left_out=2))
    with pytest.raises(RecordError, match=r"Type: Record\("):
        list(training_examples(["it rains"], 0))
    with pytest.raises(RecordError, match=r"Type: Template\('causal'\)"):
        template_for(models.causal(), models.tokenizer(), Template("seq2seq"))
    tokenizer = models.tokenizer(sentinels=False)
    with pytest.raises(RecordError, match=r"found no <extra_id_0>.*'<extra_id_4>'"):
        template_for(models.seq2seq(), tokenizer)
