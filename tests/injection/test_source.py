from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin import DictionaryLinker, Mention
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
    assert [linked.source for linked in sources(first, second).find(["Paris, on the Seine"])[0]] == [second]


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


def test_ids_of_another_scheme_are_said_once():
    together = sources(source(DictionaryLinker(KB)))
    with pytest.warns(UserWarning, match=r"'Q90'; its ids look like 'geo:"):
        assert together.known([Mention(0, 5, "Q90")]) == []
    assert together.known([Mention(0, 5, "Q90")]) == []


def test_a_single_entity_that_is_missing_is_no_news(recwarn):
    together = sources(source(DictionaryLinker(KB)))
    assert len(together.known([Mention(0, 5, "geo:atlantis"), Mention(6, 9, "geo:york")])) == 1
    assert not recwarn.list
