"""Judging records and sorting them: what is judged how, and that none is lost."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from knowledge_plugin.building import Provenance, Record, filter_records, judge_records
from knowledge_plugin.building import plausibility as module
from knowledge_plugin.building.field_masking import MaskedText
from knowledge_plugin.errors import RecordError
from tests.building import models
from tests.evaluation.propagation import counting

BY = Provenance("t5", True)
RECORDS = [
    Record("it rains", "what happens next", "wet", 0.25, BY),
    Record("it rains", inference="the street gets wet"),
    Record(query="why", inference="cold"),
    Record(),
]


@pytest.mark.parametrize("make", [models.seq2seq, models.causal])
def test_what_can_be_judged_is(make):
    model, tokenizer = make(), models.tokenizer()
    evidence = judge_records(model, tokenizer, RECORDS, name="critic", progress=False)
    assert [record.plausibility is not None for record in evidence] == [True, True, False, False]
    assert all(0 < record.plausibility < 1 for record in evidence[:2])
    assert evidence[0].provenance.judge == "critic, evidence"
    assert evidence[1].provenance is None
    field = judge_records(model, tokenizer, RECORDS, "field", name="critic", progress=False, batch_size=2)
    assert [record.plausibility is not None for record in field] == [True, True, True, False]
    assert [record.inference for record in field] == [record.inference for record in RECORDS]
    assert field[0].provenance.judge == "critic, field"


def test_a_model_that_does_not_read_finds_no_evidence():
    model = models.causal()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    found = judge_records(model, models.tokenizer(), RECORDS[:2], name="critic", progress=False)
    assert [record.plausibility for record in found] == [0.5, 0.5]
    field = judge_records(model, models.tokenizer(), RECORDS[:2], "field", name="critic", progress=False)
    assert [record.plausibility for record in field] == pytest.approx([0.5, 0.5])


def test_evidence_is_the_mean_gain_of_an_inference_s_tokens():
    # A model that counts: from "sad" follows "drama", and from "wild" something else; both are worth the same.
    tokenizer = counting.make_tokenizer()
    model = counting.make_model("causal", tokenizer)
    told, wrong = Record("sad", "wild", "drama town"), Record("funny", "wild", "drama town")
    worth, rest = math.exp(counting.WORTH), len(tokenizer) - 2
    # With the query alone; with what speaks for the first word, so that it stands there twice before the second.
    without = 1 / (worth + rest + 1) / (2 * worth + rest)
    known = worth / (2 * worth + rest) / (worth**2 + worth + rest)
    misled = 1 / (2 * worth + rest) / (3 * worth + rest - 1)
    found = judge_records(model, tokenizer, [told, wrong], name="critic", progress=False)
    expected = [1 / (1 + math.sqrt(without / likely)) for likely in (known, misled)]
    assert [record.plausibility for record in found] == pytest.approx(expected)
    assert found[1].plausibility < 0.5


def test_the_field_is_the_mean_of_its_values_of_all_that_the_record_says(monkeypatch):
    def likelihoods(model, tokenizer, texts, template):
        return [(0.0 if likely(text) else -1e4, 1) for text in texts]

    def likely(text: MaskedText):
        # Of a record as a whole the model believes the highest values, and of any part of it the lowest.
        whole = all(field in text.input for field in ("context: it", "query: why", "inference: wet"))
        return any(value in text.target for value in (("0.9", "1.0") if whole else ("0.0",)))

    monkeypatch.setattr(module, "likelihoods", likelihoods)
    records = [Record("it rains", "why", "wet", 0.3), Record("it rains", None, "wet", 0.9)]
    found = judge_records(models.seq2seq(), models.tokenizer(), records, "field", name="critic", progress=False)
    assert [record.plausibility for record in found] == pytest.approx([0.95, 0.0])


def test_who_judges_must_be_known():
    with pytest.raises(RecordError, match="Pass name="):
        judge_records(models.causal(), models.tokenizer(), RECORDS, progress=False)
    with pytest.raises(RecordError, match="by: expected 'evidence' or 'field'"):
        judge_records(models.causal(), models.tokenizer(), RECORDS, "gut", name="critic")


def test_where_a_model_lies_on_this_machine_is_not_told(tmp_path):
    models.causal().save_pretrained(tmp_path / "critic")
    model = LlamaForCausalLM.from_pretrained(tmp_path / "critic")
    (found,) = judge_records(model, models.tokenizer(), RECORDS[:1], progress=False)
    assert found.provenance.judge == "critic, evidence"


@pytest.mark.parametrize("make", [models.causal, models.seq2seq])
def test_what_cannot_be_judged(make):
    def judge(records, **options):
        return judge_records(make(), models.tokenizer(), records, name="critic", progress=False, **options)

    with pytest.raises(RecordError, match="batch_size: expected a number from 1 up, found 0"):
        judge(RECORDS, batch_size=0)
    for ask in (judge, lambda records: filter_records(records, 0.5)):
        with pytest.raises(RecordError, match=r"Type: Record\("):
            ask([{"context": "it rains"}])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.none() | st.floats(0, 1)), st.floats(0, 1), st.booleans())
def test_no_record_is_lost(values, at_least, keep_unjudged):
    records = [Record(str(i), plausibility=value) for i, value in enumerate(values)]
    found = filter_records(records, at_least, keep_unjudged=keep_unjudged)
    assert sorted([*found.kept, *found.dropped], key=records.index) == records
    assert found.unjudged == values.count(None)
    for record in found.kept:
        assert keep_unjudged if record.plausibility is None else record.plausibility >= at_least
    assert f"{len(found.kept)} of {len(records)} records kept" in str(found)


@pytest.mark.parametrize("at_least", [-1, 2, True, "high"])
def test_a_threshold_that_is_none(at_least):
    with pytest.raises(RecordError, match="at_least"):
        filter_records([], at_least)
