from __future__ import annotations

from itertools import pairwise, repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin import Mention
from knowledge_plugin.errors import LinkingError, MentionError
from knowledge_plugin.linking.mention import check_mentions, link, without_overlaps

TEXT = "From New York to Berlin"


def test_a_mention_is_a_tuple_with_a_score():
    assert Mention(0, 4, "x:1") == (0, 4, "x:1", 1.0)


@pytest.mark.parametrize(
    "given_mention",
    [
        Mention(5, 13, "x:1"),
        (5, 13, "x:1"),
        [5, 13, "x:1", 1.0],
        (np.int64(5), np.int32(13), "x:1"),
        {"start": 5, "end": np.int64(13), "entity_id": "x:1"},
    ],
)
def test_tuples_are_taken_for_mentions(given_mention):
    assert check_mentions([given_mention], TEXT) == [Mention(5, 13, "x:1")]


def test_mentions_come_back_in_the_order_of_the_text():
    later, first = Mention(17, 23, "x:2"), Mention(5, 13, "x:1")
    assert check_mentions(iter([later, first]), TEXT) == [first, later]


@pytest.mark.parametrize("span", [(-1, 4), (4, 4), (5, 4), (0, 24), (23, 24), (100, 200)])
def test_a_span_that_does_not_fit_its_text(span):
    with pytest.raises(MentionError, match="does not fit its text of 23 characters"):
        check_mentions([Mention(*span, "x:1")], TEXT)


@pytest.mark.parametrize(
    "wrong", [5, (0, 4), (0, 4, "x:1", 1.0, 2), (0.0, 4, "x:1"), ("0", 4, "x:1"), (0, 4, 7), None, "abc"]
)
def test_what_is_no_mention(wrong):
    with pytest.raises(MentionError, match="expected"):
        check_mentions([wrong], TEXT)


def test_a_linker_is_held_to_its_contract():
    assert link(lambda texts: [[(0, 4, "x:1")], []], ["York", ""]) == [[Mention(0, 4, "x:1")], []]


def test_a_linker_may_yield():
    def linker(texts):
        for text in texts:
            yield ((0, len(name), f"x:{name}") for name in ("York",) if text.startswith(name))

    assert link(linker, ["York", "", "York again"]) == [[Mention(0, 4, "x:York")], [], [Mention(0, 4, "x:York")]]


@pytest.mark.parametrize("kind", [list, tuple, iter, lambda found: dict.fromkeys(found).keys()])
def test_any_iterable_of_iterables_will_do(kind):
    per_text = [(Mention(0, 4, "x:1"),), ()]
    assert link(lambda texts: kind(per_text), ["York", ""]) == [[Mention(0, 4, "x:1")], []]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([[]], "1"),
        ([[], [], []], "more"),
        (iter([[]]), "1"),
        (repeat([]), "more"),
        (None, "NoneType"),
        ({}, "dict"),
        ("ab", "str"),
        (b"ab", "bytes"),
        (5, "int"),
        (Mention(0, 4, "x:1"), "Mention"),
    ],
)
def test_a_linker_that_returns_something_else(found, said):
    with pytest.raises(LinkingError, match=rf"expected 2, found {said}\. Type: return \[\[Mention\(start"):
        link(lambda texts: found, ["York", "Paris"])


@pytest.mark.parametrize("wrong", [None, 5, "", "York", b"", {}, {"start": 0}, Mention(0, 4, "x:1")])
def test_a_linker_that_gives_no_mentions_for_a_text(wrong):
    with pytest.raises(LinkingError, match=rf"for each text: for text 1 it gave {type(wrong).__name__} .*Type: return"):
        link(lambda texts: iter([[], wrong]), ["Paris", "York"])


@pytest.mark.parametrize("found", [[[None]], [[(0, 99, "x:1")]], [["York"]]])
def test_a_linker_whose_mentions_are_none(found):
    with pytest.raises(MentionError):
        link(lambda texts: found, ["York"])


def test_what_a_linker_raises_itself_comes_through():
    def linker(texts):
        yield []
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        link(linker, ["York", "Paris"])


def test_the_longest_wins_also_when_it_starts_later():
    short, long = Mention(0, 8, "x:1"), Mention(4, 14, "x:2")
    assert without_overlaps([short, long]) == [long]


def test_of_equal_lengths_the_first_wins():
    assert without_overlaps([Mention(4, 8, "x:2"), Mention(2, 6, "x:1")]) == [Mention(2, 6, "x:1")]


def test_mentions_side_by_side_do_not_overlap():
    both = [Mention(0, 4, "x:1"), Mention(4, 8, "x:2")]
    assert without_overlaps(both) == both


def overlap(a, b):
    return a.start < b.end and b.start < a.end


SPANS = st.tuples(st.integers(0, 40), st.integers(1, 12)).map(lambda s: Mention(s[0], s[0] + s[1], "x"))


@given(st.lists(SPANS, max_size=20))
def test_what_stays_does_not_overlap_and_what_goes_met_one_as_long(mentions):
    kept = without_overlaps(mentions)
    assert kept == sorted(kept)
    assert not any(overlap(a, b) for a, b in pairwise(kept))
    for gone in set(mentions) - set(kept):
        assert any(overlap(gone, m) and m.end - m.start >= gone.end - gone.start for m in kept)


def test_one_text_is_not_linked_letter_by_letter():
    with pytest.raises(LinkingError, match=r"found one text. Type: \[text\]"):
        link(lambda texts: [[] for _ in texts], "York")
