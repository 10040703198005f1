from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin import KnowledgePlugin, Mention
from knowledge_plugin.errors import LinkingError, MentionError
from knowledge_plugin.injection.word_vectors import WordEncoder
from knowledge_plugin.linking import DictionaryLinker, LongTailLinker, count_entities, count_neighbours
from knowledge_plugin.linking import long_tail as module
from tests import tiny

TEXT = "From Berlin to New York, and York."
EVERY = ["geo:berlin", "geo:new-york", "geo:york"]


def entities(linker, text=TEXT):
    return [mention.entity_id for mention in linker([text])[0]]


@pytest.fixture
def every(kb):
    return DictionaryLinker(kb)


# ---- frequency -----------------------------------------------------------------------------------------------------


def test_the_rare_are_kept_with_span_and_score(kb, every):
    linker = LongTailLinker(every, kb, frequency={"geo:berlin": 5, "geo:york": 4}, rarer_than=5)
    assert linker([TEXT]) == [every([TEXT])[0][1:]]


def test_an_entity_that_was_never_counted_is_rare(kb, every):
    assert entities(LongTailLinker(every, kb, frequency={}, rarer_than=1)) == EVERY


def test_whatever_its_other_signals_a_frequent_entity_is_not_kept(kb, every):
    counts = {"geo:berlin": 9, "geo:new-york": 9}
    for keep in ("below", "above"):
        linker = LongTailLinker(every, kb, frequency=counts, rarer_than=9, connectivity={"geo:york": 40}, keep=keep)
        assert entities(linker) == ["geo:york"]
        assert entities(linker, "Berlin") == []


def test_texts_say_how_frequent_an_entity_is(kb, every):
    counts = count_entities(every, iter(["Berlin and Berlin", "to York", "the river"]))
    assert counts == {"geo:berlin": 2, "geo:york": 1}
    assert entities(LongTailLinker(every, kb, frequency=counts, rarer_than=2)) == EVERY[1:]


def test_counting_takes_texts_in_batches_of_which_none_is_lost(every, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 3)
    assert count_entities(every, (f"Berlin {i}" for i in range(10))) == {"geo:berlin": 10}
    assert count_entities(every, []) == {}


def test_counts_travel_as_json(kb, every):
    counts = json.loads(json.dumps(count_entities(every, [TEXT, "York"])))
    assert entities(LongTailLinker(every, kb, frequency=counts, rarer_than=2)) == EVERY[:2]


# ---- connectivity --------------------------------------------------------------------------------------------------


def test_few_neighbours_or_many(kb, every):
    neighbours = {"geo:berlin": 2, "geo:new-york": 30, "geo:york": 4}  # 12 in the mean
    assert entities(LongTailLinker(every, kb, connectivity=neighbours)) == ["geo:berlin", "geo:york"]
    assert entities(LongTailLinker(every, kb, connectivity=neighbours, keep="above")) == ["geo:new-york"]
    assert entities(LongTailLinker(every, kb, connectivity=neighbours, threshold=3)) == ["geo:berlin"]


def test_the_mean_is_that_of_the_rare(kb, every):
    linker = LongTailLinker(
        every, kb, connectivity={"geo:berlin": 100, "geo:new-york": 2, "geo:york": 4}, frequency={"geo:berlin": 50}
    )
    assert entities(linker) == ["geo:new-york"]  # with Berlin in the mean, York would be below it too


def test_an_entity_in_no_triple_counts_as_one_with_one_neighbour(kb, every):
    (row,) = LongTailLinker(every, kb, connectivity={"geo:york": 0}).judge([TEXT])
    assert [judged.connectivity for judged in row] == [1, 1, 1]
    assert all(judged.kept for judged in row)


def test_the_only_mention_of_a_text_is_kept_either_way(kb, every):
    for keep in ("below", "above"):
        assert entities(LongTailLinker(every, kb, connectivity={"geo:york": 7}, keep=keep), "York") == ["geo:york"]


RING = [(f"x:{i}", "next", f"x:{(i + 1) % 10}") for i in range(10)]


def test_neighbours_within_hops():
    assert count_neighbours(RING, hops=1) == dict.fromkeys((f"x:{i}" for i in range(10)), 2)
    assert count_neighbours(RING, ["x:3"], hops=3) == {"x:3": 6}
    assert count_neighbours(RING, ["x:3"], hops=50) == {"x:3": 9}
    assert count_neighbours(RING, ["x:3"], hops=50, most=4) == {"x:3": 4}


def test_an_edge_that_is_there_twice_or_leads_back_is_no_other_neighbour():
    triples = [("x:a", "of", "x:b"), ("x:b", "has", "x:a"), ("x:a", "is", "x:a")]
    assert count_neighbours(triples) == {"x:a": 1, "x:b": 1}


@given(
    st.lists(st.tuples(st.integers(0, 8), st.just("r"), st.integers(0, 8)), max_size=20),
    st.integers(1, 4),
    st.integers(1, 9),
)
def test_neighbours_are_what_powers_of_the_adjacency_reach(pairs, hops, most):
    triples = [(str(head), relation, str(tail)) for head, relation, tail in pairs]
    step = np.eye(9, dtype=int)
    for head, _, tail in pairs:
        step[head, tail] = step[tail, head] = 1
    reached = (np.linalg.matrix_power(step, hops) > 0).sum(1) - 1
    expected = {str(i): min(most, int(reached[i])) for i in range(9)}
    assert count_neighbours(triples, map(str, range(9)), hops=hops, most=most) == expected


# ---- importance ----------------------------------------------------------------------------------------------------


def letters(texts):
    """Counts the letters of a text, so that a long mention means more than a short one."""
    return [[text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]


def test_importance_is_one_over_the_cosine_with_the_text_without_the_mention(kb, every):
    (row,) = LongTailLinker(every, kb, encode=letters).judge([TEXT])
    for judged in row:
        start, end = judged.mention[:2]
        whole, rest = np.array(letters([TEXT, TEXT[:start] + TEXT[end:]]), dtype=float)
        cosine = whole @ rest / np.linalg.norm(whole) / np.linalg.norm(rest)
        assert judged.importance == pytest.approx(1 / cosine, rel=1e-5)
        assert judged.score == judged.importance


def test_what_a_text_can_do_without_and_what_it_cannot(kb, every):
    below, above = (entities(LongTailLinker(every, kb, encode=letters, keep=keep)) for keep in ("below", "above"))
    assert above == ["geo:berlin"]  # no other letter b, l or i in it
    assert below == ["geo:new-york", "geo:york"]


def test_a_text_of_which_nothing_is_left_is_finite(kb, every):
    (row,) = LongTailLinker(every, kb, encode=letters).judge(["York"])
    assert row[0].importance == pytest.approx(100)
    assert row[0].kept


def test_the_mask_stands_where_the_mention_stood(kb, every):
    asked = []

    def encode(texts):
        asked.extend(texts)
        return torch.ones(len(texts), 3)

    LongTailLinker(every, kb, encode=encode, mask="[MASK]")(["To York and York"])
    assert asked == ["To York and York", "To [MASK] and York", "To York and [MASK]"]


def test_nothing_is_encoded_that_has_no_rare_mention(kb, every):
    def refuse(texts):
        raise AssertionError(texts)

    linker = LongTailLinker(every, kb, encode=refuse, frequency={"geo:york": 50})
    assert linker(["the river", "York"]) == [[], []]
    assert linker([]) == []


def test_the_model_itself_encodes(kb, every, wordpiece):
    linker = LongTailLinker(every, kb, encode=WordEncoder(tiny.classifier(), wordpiece))
    (row,) = linker.judge([TEXT])
    assert all(judged.importance > 1 for judged in row)
    assert 0 < sum(judged.kept for judged in row) < 3


# ---- everything together -------------------------------------------------------------------------------------------


def test_the_score_is_the_product(kb, every):
    linker = LongTailLinker(
        every, kb, encode=letters, connectivity={"geo:york": 3, "geo:berlin": 2}, frequency={"geo:new-york": 99}
    )
    (row,) = linker.judge([TEXT])
    assert [judged.frequency for judged in row] == [0, 99, 0]
    assert [judged.score for judged in row] == [2 * row[0].importance, 0, 3 * row[2].importance]
    assert linker([TEXT]) == [[judged.mention for judged in row if judged.kept]]


def test_any_linker_can_wear_it_and_it_can_wear_itself(kb, every):
    def by_hand(texts):
        for text in texts:
            yield [(0, 4, "geo:york"), Mention(0, 2, "geo:berlin"), Mention(0, 9, "x:unknown")] if text else []

    linker = LongTailLinker(by_hand, kb, frequency={})
    assert linker(["York, say", ""]) == [[Mention(0, 4, "geo:york")], []]
    twice = LongTailLinker(LongTailLinker(every, kb, frequency={"geo:york": 50}), kb, connectivity={"geo:berlin": 7})
    assert entities(twice) == ["geo:new-york"]


def test_attached(kb, every, model, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb)
    linker = LongTailLinker(every, kb, frequency={"geo:berlin": 50})
    with plugin.attach(model, wordpiece, linker=linker) as attachment:
        assert [m.entity_id for m in attachment.explain("Berlin, York")] == ["geo:york"]
        assert attachment.tokenizer("to Berlin")["input_ids"] == wordpiece("to Berlin")["input_ids"]


# ---- wrong use -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to choose mentions by. Type: frequency="),
        ({"frequency": 3}, "frequency: expected numbers by entity, found 3"),
        ({"connectivity": ["geo:york"]}, "connectivity: expected numbers"),
        ({"frequency": {}, "keep": "rare"}, "keep: expected 'below' or 'above', found 'rare'"),
        ({"frequency": {}, "threshold": "median"}, "threshold: expected 'mean' or a number"),
        ({"frequency": {}, "threshold": -1}, "threshold: expected"),
        ({"frequency": {}, "threshold": float("nan")}, "threshold: expected"),
        ({"frequency": {}, "threshold": None}, "threshold: expected"),
        ({"frequency": {}, "rarer_than": "50"}, "rarer_than: expected a number above 0, found '50'"),
        ({"frequency": {}, "rarer_than": 0}, "rarer_than: expected"),
        ({"frequency": {}, "rarer_than": float("nan")}, "rarer_than: expected"),
        ({"encode": "all-MiniLM-L6-v2"}, "encode: expected a function, found 'all-MiniLM-L6-v2'"),
    ],
)
def test_wrong_arguments(kb, every, arguments, message):
    with pytest.raises(LinkingError, match=message):
        LongTailLinker(every, kb, **arguments)


def test_what_is_no_linker_is_refused(kb):
    with pytest.raises(LinkingError, match=r"LongTailLinker\(DictionaryLinker"):
        LongTailLinker(kb, kb, frequency={})


@pytest.mark.parametrize("vectors", [torch.zeros(3), torch.zeros(2, 4), torch.full((4, 2), torch.nan)])
def test_an_encoder_that_gives_something_else_for_vectors(kb, every, vectors):
    with pytest.raises(LinkingError, match=r"encode: expected finite vectors \[4, dim\]"):
        LongTailLinker(every, kb, encode=lambda texts: vectors)([TEXT])


@pytest.mark.parametrize(
    "vectors", [None, ["x"] * 4, [[1.0]] * 3 + [[1.0, 2.0]], [object()] * 4, [torch.ones(1), None]]
)
def test_an_encoder_that_gives_no_numbers(kb, every, vectors):
    with pytest.raises(LinkingError, match=r"encode: expected finite vectors \[4, dim\]"):
        LongTailLinker(every, kb, encode=lambda texts: vectors)([TEXT])


def test_vectors_come_in_any_kind_of_numbers(kb, every):
    expected = LongTailLinker(every, kb, encode=letters).judge([TEXT])
    for kind in (np.array, torch.tensor, lambda each: [torch.tensor(row, dtype=torch.float32) for row in each]):
        assert LongTailLinker(every, kb, encode=lambda texts, kind=kind: kind(letters(texts))).judge([TEXT]) == expected


def test_counts_that_are_none(kb, every):
    for counts in ({"geo:york": None}, {"geo:york": "many"}):
        with pytest.raises(LinkingError, match=r"frequency: expected numbers by entity, found .* of 'geo:york'"):
            LongTailLinker(every, kb, frequency=counts)([TEXT])
        with pytest.raises(LinkingError, match=r"connectivity: expected numbers by entity, found .* of 'geo:york'"):
            LongTailLinker(every, kb, connectivity=counts)([TEXT])


def test_one_text_is_no_list_of_texts(every):
    with pytest.raises(LinkingError, match=r"expected a list of texts, found one text. Type: \[text\]"):
        count_entities(every, TEXT)


def test_a_linker_that_breaks_its_word(kb):
    with pytest.raises(LinkingError, match="a linker gives a list of mentions for each text"):
        LongTailLinker(lambda texts: [], kb, frequency={})(["York"])
    with pytest.raises(MentionError, match="does not fit its text"):
        count_entities(lambda texts: [[Mention(0, 99, "x:1")] for _ in texts], ["York"])


@pytest.mark.parametrize("limit", ["hops", "most"])
def test_limits_below_one(limit):
    with pytest.raises(LinkingError, match=f"{limit}: expected a number from 1 up, found 0"):
        count_neighbours(RING, **{limit: 0})


def test_one_id_is_no_list_of_ids():
    with pytest.raises(LinkingError, match="entities: expected a list of ids, found the text 'x:3'"):
        count_neighbours(RING, "x:3")
