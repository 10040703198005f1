from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knowledge_plugin.knowledge_base.normalization import normalize, normalize_with_offsets

CASES = ("insensitive", "sensitive")
# Letters that change their length or their neighbours when they are normalised, among ordinary ones.
NASTY = (
    "aAeE zZ.-'\u0301\u0323\u0308\u0327İIıßſÅÅéÉṩΣσςΩΩक\u093fक़\u0915\u093c가\u1100\u1161\u11a8\u1161ﬁ\u0345ᾼ\u200d東"
    "ｅＡｶﾞﾟｰカ\u3099ﾡￂ～\n"
)
TEXTS = st.one_of(st.text(NASTY, max_size=30), st.text(max_size=30))


def spans_of(text, case):
    normalized, spans = normalize_with_offsets(text, case)
    return normalized, [(i, i + 1) for i in range(len(text))] if spans is None else spans


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cafe\u0301", "café"),
        ("Café", "café"),
        ("ÅNGSTRÖM", "ångström"),
        ("\u212bngstrom", "ångstrom"),
        ("東京", "東京"),
        ("ＡＢＣ　１２", "abc　12"),
        ("ｶﾞｰﾅ", "ガーナ"),
        ("ﬁ…x²", "ﬁ…x²"),
    ],
)
def test_one_way_of_writing(text, expected):
    assert normalize(text, "insensitive") == expected


def test_a_sensitive_policy_keeps_case():
    assert normalize("CAFE\u0301", "sensitive") == "CAFÉ"


def test_plain_text_has_no_spans():
    assert normalize_with_offsets("Plain text", "insensitive") == ("plain text", None)
    assert normalize_with_offsets("Café", "sensitive") == ("Café", None)


def test_a_letter_with_its_marks_is_one_span():
    assert normalize_with_offsets("e\u0323\u0301x", "sensitive")[1] == [(0, 3), (0, 3), (3, 4)]


def test_a_letter_that_grows_keeps_its_place():
    normalized, spans = normalize_with_offsets("xİy", "insensitive")
    assert normalized == "xi\u0307y"
    assert spans == [(0, 1), (1, 2), (1, 2), (2, 3)]


def test_hangul_syllables_are_put_together():
    assert normalize_with_offsets("\u1100\u1161\u11a8a", "sensitive") == ("각a", [(0, 3), (3, 4)])


@pytest.mark.parametrize("case", CASES)
@given(text=TEXTS)
@example(text="ΟΔΟΣ e\u0301")
@example(text="\u0301")
@example(text="ｅ\u0301İ")
@example(text="ｶﾞİ")
def test_spans_tile_the_text(text, case):
    normalized, spans = spans_of(text, case)
    assert len(spans) == len(normalized)
    edges = sorted(set(spans))
    assert "".join(text[start:end] for start, end in edges) == text
    assert spans == sorted(spans)
    assert unicodedata.is_normalized("NFC", normalized) or case == "insensitive"


@pytest.mark.parametrize("case", CASES)
@given(text=TEXTS, data=st.data())
def test_the_original_of_a_slice_normalises_to_the_slice(text, case, data):
    normalized, spans = spans_of(text, case)
    first = data.draw(st.integers(0, len(spans)))
    last = data.draw(st.integers(first, len(spans)))
    if (
        first == last
        or (first and spans[first - 1] == spans[first])
        or (last < len(spans) and spans[last] == spans[last - 1])
    ):
        return  # an empty slice, or one that cuts through a letter
    original = text[spans[first][0] : spans[last - 1][1]]
    # Lower case of a sigma depends on its neighbours, which a slice may lack.
    assert normalize(original, case).replace("ς", "σ") == normalized[first:last].replace("ς", "σ")


@pytest.mark.parametrize("case", CASES)
@given(text=TEXTS)
@example(text="A\uff9e\u0301")
def test_both_functions_agree(text, case):
    assert normalize_with_offsets(text, case)[0] == normalize(text, case)


@given(text=TEXTS)
def test_composed_and_decomposed_text_compare_equal(text):
    decomposed = unicodedata.normalize("NFD", text)
    assert normalize(decomposed, "insensitive") == normalize(text, "insensitive")


def test_a_long_run_of_marks_is_no_trouble():
    text = "a" + "\u0301" * 20_000 + "b"
    assert spans_of(text, "insensitive")[1][-1] == (20_001, 20_002)
