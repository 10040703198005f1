"""Judging records and sorting them: what is judged how, and that none is lost."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge_plugin.building import Provenance, Record, filter_records, judge_records
from knowledge_plugin.errors import RecordError
from tests.building import models

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


def test_who_judges_must_be_known():
    with pytest.raises(RecordError, match="Pass name="):
        judge_records(models.causal(), models.tokenizer(), RECORDS, progress=False)
    with pytest.raises(RecordError, match="'evidence' or 'field'"):
        judge_records(models.causal(), models.tokenizer(), RECORDS, "gut", name="critic")


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
