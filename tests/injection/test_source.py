from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase, Mention
from knowledge_plugin.errors import LinkingError
from knowledge_plugin.injection.source import KnowledgeSource, KnowledgeSources
from knowledge_plugin.injection.virtual_ids import VirtualIds
from knowledge_plugin.linking.mention import without_overlaps
from tests import tiny

KB = tiny.knowledge_base()


def source(linker, start=400, name="cities") -> KnowledgeSource:
    return KnowledgeSource(name, KB, linker, VirtualIds(start, len(KB)), "concat", "/")


def sources(*items: KnowledgeSource) -> KnowledgeSources:
    together = KnowledgeSources()
    for item in items:
        together.check(item)
        together.add(item)
    return together


def fixed(*mentions: Mention):
    return lambda texts: [list(mentions) for _ in texts]


SPANS = st.lists(
    st.builds(lambda s, n: Mention(s, s + n, "geo:paris"), st.integers(0, 30), st.integers(1, 8)), max_size=8
)


@given(st.lists(SPANS, min_size=1, max_size=3))
def test_the_order_of_attaching_decides_between_plugins_and_length_within_one(spans):
    text = "x" * 40
    together = sources(*(source(fixed(*own), 400 + 100_000 * i) for i, own in enumerate(spans)))
    found = together.find([text])[0]
    positions = [(linked.mention.start, linked.mention.end) for linked in found]
    assert positions == sorted(positions)
    assert all(a[1] <= b[0] for a, b in zip(positions, positions[1:], strict=False))
    taken: list[Mention] = []
    for own, one in zip(spans, together.enabled, strict=True):
        expected = [m for m in without_overlaps(own) if all(m.end <= t.start or t.end <= m.start for t in taken)]
        assert [linked.mention for linked in found if linked.source is one] == sorted(expected)
        taken += expected


def test_unknown_entities_take_no_place():
    first = source(fixed(Mention(0, 9, "geo:atlantis")))
    second = source(fixed(Mention(0, 5, "geo:paris")), 100_000)
    with pytest.warns(UserWarning, match="'geo:atlantis'"):
        (found,) = sources(first, second).find(["Paris, on the Seine"])
    assert [linked.source for linked in found] == [second]


def test_without_any_linker_it_says_what_to_do():
    with pytest.raises(LinkingError, match="linker="):
        sources(source(None)).find(["Paris"])
    with pytest.warns(UserWarning, match="has no linker"):
        both = sources(source(None), source(DictionaryLinker(KB), 100_000))
    assert len(both.find(["Paris"])[0]) == 1
    assert KnowledgeSources().find(["Paris"]) == [[]]


def test_tokens_of_a_plugin_that_went_can_still_be_told():
    one = source(DictionaryLinker(KB))
    together = sources(one)
    token_id = one.token_id(Mention(0, 5, "geo:paris"))
    together.remove(one)
    assert together.enabled == []
    past = together.of_token(token_id)
    assert past is not one
    assert (past.form, past.separator, past.entity_id(token_id)) == ("concat", "/", "cities")
    newer = source(DictionaryLinker(KB))
    together.add(newer)
    assert together.of_token(token_id) is newer


def test_copies_are_switched_together():
    together = sources(source(DictionaryLinker(KB)))
    assert copy.deepcopy(together) is together
    there = pickle.loads(pickle.dumps(together))
    assert len(there.find(["Paris"])[0]) == 1
    with together.enabled[0].switched_off():
        assert together.enabled == there.enabled == []
        sent = pickle.dumps(together)
    assert len(there.find(["Paris"])[0]) == 1
    assert pickle.loads(sent).enabled == []


def test_a_plugin_without_a_linker_beside_one_with_is_said():
    together = sources(source(DictionaryLinker(KB)))
    with pytest.warns(UserWarning, match="'gold' has no linker"):
        together.check(source(None, 100_000, name="gold"))


def test_entities_that_nobody_knows_are_said_once():
    together = sources(source(DictionaryLinker(KB)), source(DictionaryLinker(KB), 100_000, name="more"))
    mentions = [Mention(0, 5, "Q90"), Mention(9, 12, "geo:york"), Mention(6, 8, "Q91")]
    with pytest.warns(UserWarning, match=r"2 of 3 mentions so far .* first of 'Q90'.*'cities' look like 'geo:") as said:
        (found,) = together.given([mentions], ["Paris is York"])
    assert len(said) == 1
    assert [linked.mention.entity_id for linked in found] == ["geo:york"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert together.given([mentions], ["Paris is York"]) == [found]
    assert [(s.counts.known, s.counts.unknown) for s in together.enabled] == [(2, 4), (2, 4)]


def test_of_a_linker_too():
    own = source(fixed(Mention(0, 5, "geo:atlantis"), Mention(6, 8, "geo:york")))
    together = sources(own)
    with pytest.warns(UserWarning, match="1 of 2 mentions so far .* 'geo:atlantis'"):
        assert len(together.find(["Paris is York"])[0]) == 1
    alone = source(fixed(Mention(0, 5, "geo:atlantis")))
    with pytest.warns(UserWarning, match="1 of 1 mentions"):
        assert alone.find(["Paris"]) == [[]]
    with pytest.warns(UserWarning, match="1 of 1 mentions"):
        assert source(None).given([{"start": [0], "end": [5], "entity_id": ["geo:atlantis"]}], ["Paris"]) == [[]]


def test_what_another_plugin_knows_is_known():
    other = KnowledgeBase.from_entities([Entity("x:1", "Graz")], torch.ones(1, 8), name="more")
    second = KnowledgeSource("more", other, fixed(Mention(0, 4, "x:1")), VirtualIds(100_000, 1), "concat", "/")
    # This linker finds for both.
    first = source(fixed(Mention(0, 4, "x:1"), Mention(5, 9, "geo:york")))
    together = sources(first, second)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (row,) = together.given([[Mention(0, 4, "x:1"), Mention(5, 9, "geo:york")]], ["Graz York"])
        assert [linked.source for linked in row] == [second, first]
        assert len(together.find(["Graz York"])[0]) == 2
        with second.switched_off():
            assert len(together.given([[Mention(0, 4, "x:1")]], ["Graz"])[0]) == 0
    assert first.counts.unknown == second.counts.unknown == 0


def test_what_was_counted_is_of_one_process():
    one = source(DictionaryLinker(KB))
    before = pickle.dumps(one)
    with pytest.warns(UserWarning, match="nothing else is linked"):
        one.given([[Mention(0, 5, "Q90")]], ["Paris"])
    assert pickle.dumps(one) == before
