"""Values of strangers on one line of Markdown, as a parser shows them."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from knowledge_plugin.hub.markdown import as_figure, as_literal, as_size, as_slug, as_text, one_line

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def shown(text: str) -> str:
    """What a reader sees of a table's cell."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(f"| a |\n|---|\n| {text} |\n")
    (cell,) = [tokens[i + 1] for i, token in enumerate(tokens) if token.type == "td_open"]
    assert not [child.type for child in cell.children if child.type not in ("text", "text_special")]
    return "".join(child.content for child in cell.children)


@given(TEXT)
def test_text_is_shown_as_it_is(value):
    assert shown(as_text(value)) == one_line(value)


@given(TEXT)
def test_a_literal_is_the_value_on_one_line(value):
    literal = as_literal(value)
    assert ast.literal_eval(literal) == one_line(value)
    assert literal.isprintable() or "\n" not in literal
    assert "<" not in literal


@given(TEXT)
def test_one_line_is_one_line(value):
    line = one_line(value)
    assert len(line.splitlines()) <= 1
    assert len(line) <= 200
    assert one_line(line) == line


@given(TEXT)
def test_a_slug_is_a_tag(value):
    slug = as_slug(value)
    assert not set(slug) & set(" \n:/\"'_")
    assert slug == slug.strip("-")
    assert len(slug) <= 64


def test_what_turns_the_direction_of_writing_goes():
    assert one_line("a\u202eb\u2066c\u200fd") == "a b c d"


def test_what_is_too_long_is_cut():
    assert one_line("x" * 10**7) == "x" * 199 + "…"


@pytest.mark.parametrize(("value", "expected"), [(None, ""), (0, "0"), (1e-3, "0.001"), (True, "True")])
def test_values_of_other_types(value, expected):
    assert as_text(value) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (10**13, "10,000.0 GB")]
)
def test_sizes(size, expected):
    assert as_size(size) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, "0.000"), (-0.5, "-0.500"), (99.95, "100.0"), (12345.6, "12,345.6")]
)
def test_figures(value, expected):
    assert as_figure(value) == expected
