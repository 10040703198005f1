"""Tables for people."""

from __future__ import annotations

from dataclasses import replace

from knowledge_plugin.evaluation.propagation.tables import interval, number
from tests.evaluation.propagation.test_report import report  # noqa: F401


def test_shares_are_in_percent_and_perplexities_are_not():
    assert number(0.5, "accuracy") == "50.0"
    assert number(-0.125, "P(gold)", "+") == "-12.5"
    assert number(12.3456, "perplexity") == "12.35"
    assert number(float("nan"), "perplexity") == number(None, "accuracy") == "-"
    assert interval(None, None, "accuracy") == "-"
    assert interval(0.1, 0.2, "accuracy") == "10.0 to 20.0"


def test_both_forms_show_every_condition(report):  # noqa: F811
    for shown in (str(report), report.to_markdown()):
        for title in ("nothing", "its definition in the text", "the plugin", "shuffled vectors", "(chance)"):
            assert title in shown
        assert "easy: the definition says the answer" in shown
        assert "touched" in shown
        assert report.verdict in shown
    assert "touched" not in str(replace(report, specificity=()))


def test_markdown_is_tables(report):  # noqa: F811
    for line in report.to_markdown().splitlines():
        if line.startswith("|"):
            assert line.count("|") in (9, 10)


def test_a_file_may_be_called_anything(report):  # noqa: F811
    called = "[red]a|b[/].json"
    strange = replace(report, figures=tuple(replace(each, part=called) for each in report.figures))
    assert called in str(strange)
    assert "*[red]a\\|b[/].json*" in strange.to_markdown()
