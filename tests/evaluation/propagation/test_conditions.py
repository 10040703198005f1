"""What stands before a probe, and what is filled in."""

from __future__ import annotations

import random

from knowledge_plugin.evaluation.propagation.conditions import as_context, ask, definitions_by_file, others
from tests.evaluation.propagation import counting


def test_every_option_is_filled_in_and_of_a_span_the_gold_alone():
    choice, ecbd = counting.inferences().probes[:2], counting.spans().probes[:2]
    asked = ask(choice)
    assert asked.counts.tolist() == [4, 4]
    assert [each.span for each in asked.filled] == [*counting.OPTIONS] * 2
    asked = ask(ecbd, ["one ", "two "])
    assert asked.counts.tolist() == [1, 1]
    assert [(each.context, each.span) for each in asked.filled] == [("one ", "drama"), ("two ", "drama")]


def test_a_context_ends_with_a_blank():
    assert as_context(" It is. ") == "It is. "
    assert as_context("  ") == ""


def test_definitions_of_others_are_of_the_same_file_and_never_ones_own():
    probes = counting.inferences().probes
    definitions = definitions_by_file(probes)
    for probe in probes:
        found = others(probe, definitions, random.Random(0), 5)
        assert len(set(found)) == 5
        assert probe.definition not in found
        assert len(others(probe, definitions, random.Random(0), None)) == counting.N - 1
    popular = counting.spans().popular[0]
    assert len(others(popular, definitions, random.Random(0), None)) == counting.N
