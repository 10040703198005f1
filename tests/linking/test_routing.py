"""Which linker a text is for."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase, Mention
from knowledge_plugin.errors import LinkingError, MentionError
from knowledge_plugin.linking import LinkRouter


class Finds:
    """Links words, each with the score that it is given."""

    def __init__(self, **scores: float) -> None:
        self.scores = scores

    def __call__(self, texts):
        return [
            [Mention(text.index(w), text.index(w) + len(w), f"x:{w}", s) for w, s in self.scores.items() if w in text]
            for text in texts
        ]


PLANETS, METALS = Finds(Mercury=1.0, Venus=1.0), Finds(Mercury=1.0, lead=1.0)


def knowledge_base(name: str, *labels: str) -> KnowledgeBase:
    entities = [Entity(f"{name}:{i}", label) for i, label in enumerate(labels)]
    return KnowledgeBase.from_entities(entities, [[float(i)] for i in range(len(labels))], name=name)


def test_the_other_names_of_a_text_say_what_a_shared_name_is():
    router = LinkRouter({"planets": PLANETS, "metals": METALS})
    assert router.choose(["Mercury and lead", "Mercury and Venus", "lead alone"]) == ["metals", "planets", "metals"]


def test_of_equals_the_first_wins_and_nothing_is_for_nobody():
    assert LinkRouter({"planets": PLANETS, "metals": METALS}).choose(["Mercury", "the sea"]) == ["planets", None]
    assert LinkRouter({"metals": METALS, "planets": PLANETS}).choose(["Mercury"]) == ["metals"]


def test_coverage_counts_characters_and_mentions_count_each():
    linkers = {"long": Finds(Alexandria=1.0), "many": Finds(Ur=1.0, Rome=1.0)}
    text = "Alexandria, Ur, Rome"
    assert LinkRouter(linkers).scores([text]) == [{"long": pytest.approx(0.5), "many": pytest.approx(0.3)}]
    assert LinkRouter(linkers, by="mentions").scores([text]) == [{"long": 1.0, "many": 2.0}]


def test_a_name_that_is_ambiguous_within_a_knowledge_base_counts_by_its_prior():
    sure = DictionaryLinker(knowledge_base("sure", "Kiru"))
    unsure = DictionaryLinker(knowledge_base("unsure", "Kiru", "Kiru"))
    router = LinkRouter({"unsure": unsure, "sure": sure}, by="mentions")
    assert router.scores(["Kiru"]) == [{"unsure": pytest.approx(0.5), "sure": 1.0}]
    assert router.choose(["Kiru"]) == ["sure"]


def test_mentions_of_unknown_entities_do_not_count():
    router = LinkRouter({"planets": PLANETS, "metals": METALS}, known={"planets": lambda entity: entity == "x:Venus"})
    assert router.choose(["Mercury", "Venus"]) == ["metals", "planets"]


def test_per_text_a_routed_linker_lets_through_what_is_for_it():
    router = LinkRouter({"planets": PLANETS, "metals": METALS}, per="text")
    texts = ["Mercury and lead", "Mercury", "the sea"]
    found = {name: router.linker(name)(texts) for name in router.linkers}
    assert [[m.entity_id for m in row] for row in found["planets"]] == [[], ["x:Mercury"], []]
    assert [[m.entity_id for m in row] for row in found["metals"]] == [["x:Mercury", "x:lead"], [], []]
    again = pickle.loads(pickle.dumps(router.linker("metals")))
    assert again(texts) == found["metals"]


@given(st.lists(st.lists(st.sampled_from(["Mercury", "Venus", "lead", "sea"]), max_size=5).map(" ".join), max_size=5))
def test_each_text_is_judged_for_itself(texts):
    router = LinkRouter({"planets": PLANETS, "metals": METALS}, per="text")
    whole = router.choose(texts)
    assert whole == [router.choose([text])[0] for text in texts]
    for name in router.linkers:
        # What a text gets, it gets from one linker, and that is the chosen one.
        assert [bool(row) for row in router.linker(name)(texts)] == [chosen == name for chosen in whole]


@given(st.lists(st.sampled_from(["Mercury", "Venus", "lead", "sea"]), max_size=5).map(" ".join))
def test_per_mention_every_name_is_linked_once_and_by_whoever_has_it(text):
    router = LinkRouter({"planets": PLANETS, "metals": METALS})
    found = {name: router.linker(name)([text])[0] for name in router.linkers}
    names = sorted(m.entity_id for row in found.values() for m in row)
    assert names == sorted(f"x:{w}" for w in {"Mercury", "Venus", "lead"} if w in text)
    if "Mercury" in text:
        chosen = router.choose([text])[0]
        assert "x:Mercury" in [m.entity_id for m in found[chosen]]


def test_per_mention_what_is_dropped_takes_no_place():
    # bc is in the way of ab and goes; cd is in the way of bc alone, and stays.
    linkers = {"whole": Finds(ab=1.0), "part": Finds(bc=0.2), "tail": Finds(cd=0.1)}
    router = LinkRouter(linkers)
    assert [m.entity_id for m in router.linker("part")(["abcd"])[0]] == []
    assert [m.entity_id for m in router.linker("tail")(["abcd"])[0]] == ["x:cd"]


def test_wrong_use_is_refused():
    with pytest.raises(LinkingError, match="found none"):
        LinkRouter({})
    with pytest.raises(LinkingError, match="expected a linker"):
        LinkRouter({"planets": "Mercury"})
    with pytest.raises(LinkingError, match="'coverage' or 'mentions'"):
        LinkRouter({"planets": PLANETS}, by="luck")
    with pytest.raises(LinkingError, match="'text' or 'mention'"):
        LinkRouter({"planets": PLANETS}, per="word")
    router = LinkRouter({"planets": PLANETS})
    with pytest.raises(LinkingError, match="found one text"):
        router.choose("Mercury")
    with pytest.raises(LinkingError, match="planets, found 'metals'"):
        router.linker("metals")


def test_linkers_are_held_to_their_contract():
    with pytest.raises(LinkingError, match="expected 1"):
        LinkRouter({"none": lambda texts: []}).choose(["Mercury"])
    with pytest.raises(MentionError):
        LinkRouter({"outside": lambda texts: [[Mention(0, 99, "x:a")] for _ in texts]}).choose(["Mercury"])
