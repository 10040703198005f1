from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin.linking.boundaries import word_spans


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("New York's", "New York ' s"),
        ("दिल्ली में", "दिल्ली में"),
        ("東京Tower2号", "東 京 Tower2 号"),
        ("サーバー", "サ ー バ ー".replace(" ー", "ー")),
        ("กำปี๒๕๖๓", "กำ ปี ๒๕๖๓"),
        ("서울에서", "서울에서"),
        ("東。a", "東 。 a"),
    ],
)
def test_words(text, words):
    assert [text[start:end] for start, end in word_spans(text)] == words.split()


@given(st.text(max_size=40) | st.text("東ー々กำี a1.😀က္ខ្ម", max_size=40))
def test_words_follow_each_other_and_leave_nothing_out_but_blanks(text):
    end = 0
    for start, stop in word_spans(text):
        assert end <= start < stop
        assert text[end:start].strip() == ""
        end = stop
    assert text[end:].strip() == ""
