from __future__ import annotations

import unicodedata

import pytest
import regex
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from knowledge_plugin import Entity, KnowledgeBase, Mention
from knowledge_plugin.errors import LinkingError
from knowledge_plugin.linking import DictionaryLinker


def knowledge_base(*names, **kwargs):
    entities = [Entity(f"x:{name}", name) if isinstance(name, str) else name for name in names]
    return KnowledgeBase.from_entities(entities, torch.zeros(len(entities), 1), name="t", **kwargs)


def found(text, *names, **kwargs):
    """What is linked in a text, as pairs of the linked words and the entity's id without its prefix."""
    mentions = DictionaryLinker(knowledge_base(*names), **kwargs)([text])[0]
    return [(text[m.start : m.end], m.entity_id.removeprefix("x:")) for m in mentions]


def test_mentions_of_each_text():
    linker = DictionaryLinker(knowledge_base("York", "New York"))
    texts = ["From York to New York.", "", "Nowhere"]
    assert linker(texts) == [[Mention(5, 9, "x:York"), Mention(13, 21, "x:New York")], [], []]
    assert linker([]) == []


def test_the_longest_match_wins():
    assert found("New York City", "New York", "York", "New York City") == [("New York City", "New York City")]


def test_the_longest_match_wins_also_when_it_starts_later():
    names = ["New York", "York University Press"]
    assert found("the New York University Press", *names) == [("York University Press", "York University Press")]


def test_of_overlapping_matches_of_one_length_the_first_wins():
    assert found("aa bb cc", "aa bb", "bb cc") == [("aa bb", "aa bb")]


@pytest.mark.parametrize("text", ["Yorkshire", "NewYork", "York2", "York_x", "aYork", "Yorké", "Yorke\u0301", "東York"])
def test_a_match_ends_where_a_word_ends(text):
    assert found(text, "York") == []


@pytest.mark.parametrize(
    "text", ["York", "(York)", "York.", "York's", "the-York-line", "«York»", "York\n", "\tYork,", "...York…"]
)
def test_signs_and_blanks_are_boundaries(text):
    assert found(text, "York") == [("York", "York")]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("She writes C++ well", "C++"),
        ("at St. John's, today", "St. John's"),
        ("on .NET and ASP.NET", ".NET"),
        ("AT&T's lines", "AT&T"),
        ("Yahoo! answers", "Yahoo!"),
        ("the 'Ndrangheta clan", "'Ndrangheta"),
        ("to Saint-Étienne, by train", "Saint-Étienne"),
        ("mayor of 東京 today", "東京"),
        ("off to 🇦🇹 now", "🇦🇹"),
    ],
)
def test_names_with_signs_in_them(text, name):
    assert found(text, name)[0] == (name, name)


def test_a_name_between_signs():
    assert found("C++/C#", "C++", "C#") == [("C++", "C++"), ("C#", "C#")]


def test_vowel_signs_belong_to_the_word():
    assert found("वह दिल्ली में है", "दिल्ली") == [("दिल्ली", "दिल्ली")]
    assert found("वह दिल्ली में है", "दिल्ल") == []
    assert found("वह दिल्ली में है", "दिल") == []


def test_decomposed_text_has_the_offsets_of_the_text_as_it_is():
    text = unicodedata.normalize("NFD", "Zürich, São Paulo")
    assert found(text, "Zürich", "São Paulo") == [
        (unicodedata.normalize("NFD", "Zürich"), "Zürich"),
        (unicodedata.normalize("NFD", "São Paulo"), "São Paulo"),
    ]


def test_a_decomposed_name_is_found_in_composed_text():
    assert found("in Zürich", unicodedata.normalize("NFD", "Zürich")) == [
        ("Zürich", unicodedata.normalize("NFD", "Zürich"))
    ]


def test_a_mark_makes_another_letter():
    assert found("Zu\u0308rich", "Zurich") == []


def test_letters_that_grow_in_lower_case_keep_the_offsets():
    assert found("İstanbul, İzmir and Ankara", "İstanbul", "İzmir", "Ankara") == [
        ("İstanbul", "İstanbul"),
        ("İzmir", "İzmir"),
        ("Ankara", "Ankara"),
    ]


@pytest.mark.parametrize("text", ["paris", "PARIS", "Paris", "pArIs"])
def test_case_is_ignored_by_default(text):
    assert found(text, "Paris") == [(text, "Paris")]


def test_a_sensitive_linker_does_not_ignore_case():
    assert found("US and us", "US", case="sensitive", stop_words=[]) == [("US", "US")]
    assert found("US and us", "US", stop_words=[]) == [("US", "US"), ("us", "US")]


@pytest.mark.parametrize("text", ["ΟΔΟΣ", "οδος", "Οδος, οδός ΟΔΟΣ"])
def test_a_final_sigma_is_found(text):
    assert ("ΟΔΟΣ" if "ΟΔΟΣ" in text else text, "Οδος") in found(text, "Οδος")


def test_the_prior_decides_and_is_the_score():
    kb = knowledge_base(
        Entity("x:texas", "Paris", popularity=24_999),
        Entity("x:france", "Paris", popularity=74_999),
        Entity("x:rome", "Rome"),
    )
    (mention,) = DictionaryLinker(kb)(["Paris"])[0]
    assert mention.entity_id == "x:france"
    assert mention.score == pytest.approx(0.75)


def test_each_spelling_goes_its_own_way_where_case_counts():
    kb = knowledge_base(Entity("x:us", "US", popularity=5), Entity("x:us-weekly", "Us", popularity=1))
    linker = DictionaryLinker(kb, case="sensitive", stop_words=[])
    assert [m.entity_id for m in linker(["US and Us"])[0]] == ["x:us", "x:us-weekly"]


def test_short_names_are_not_linked():
    assert found("A B Bc", "A", "B", "Bc", stop_words=[]) == [("Bc", "Bc")]
    assert found("A B Bc", "A", "B", "Bc", stop_words=[], min_length=1) == [("A", "A"), ("B", "B"), ("Bc", "Bc")]
    assert found("A B Bc", "A", "B", "Bc", stop_words=[], min_length=3) == []


def test_function_words_are_not_linked():
    assert found("Of the Nice", "Of", "The", "Nice") == [("Nice", "Nice")]
    assert found("Of Nice", "Of", "Nice", stop_words=[]) == [("Of", "Of"), ("Nice", "Nice")]


@pytest.mark.parametrize("case", ["insensitive", "sensitive"])
@pytest.mark.parametrize("word", ["nice", "NICE", "Nice"])
def test_a_stop_list_of_ones_own(case, word):
    assert found("Nice and Of", "Nice", "Of", stop_words=[word], case=case) == [("Of", "Of")]


def test_a_stop_word_within_a_longer_name_is_no_trouble():
    assert found("The Hague", "The", "The Hague") == [("The Hague", "The Hague")]


def test_a_stopped_name_does_not_take_its_place_from_another():
    assert found("aa bb cc", "aa bb", "bb cc", stop_words=["aa bb"]) == [("bb cc", "bb cc")]


def test_blanks_around_a_name_do_not_count():
    assert found("in York.", "  York ") == [("York", "  York ")]


def test_a_name_after_many_words_that_start_alike():
    assert found("New New New York", "New York") == [("New York", "New York")]


def test_a_knowledge_base_without_aliases():
    kb = KnowledgeBase.from_entities([Entity("x:1", "")], [[0.0]], name="t", linker="external")
    with pytest.raises(LinkingError, match="has no aliases"):
        DictionaryLinker(kb)


def test_an_upsert_is_linked_at_once():
    kb = knowledge_base("York")
    linker = DictionaryLinker(kb)
    assert linker(["Graz"]) == [[]]
    kb.upsert([Entity("x:graz", "Graz")], [[0.0]])
    assert linker(["Graz"]) == [[Mention(0, 4, "x:graz")]]


def test_a_saved_knowledge_base_links_alike(tmp_path, kb):
    texts = ["Paris, new york and BERLIN", "the Big Apple, City of Light; Zu\u0308rich"]
    kb.save_pretrained(tmp_path)
    assert DictionaryLinker(KnowledgeBase.from_pretrained(tmp_path))(texts) == DictionaryLinker(kb)(texts)


NAMES = [
    "aa",
    "aa bb",
    "bb aa",
    "b",
    "bb.",
    ".aa",
    "é",
    "éa",
    "İi",
    "a\u0323\u0301b",
    "कि",
    "ß",
    "東",
    "Σa",
    "a's",
    "a-b",
    "각",
]
PIECES = [
    "a",
    "b",
    "aa",
    "bb",
    " ",
    "  ",
    ".",
    "-",
    "'",
    "\u0301",
    "\u0323",
    "é",
    "İ",
    "i",
    "क",
    "ि",
    "ß",
    "東",
    "Σ",
    "\u1100\u1161",
    "\u11a8",
    "\n",
]
WORD = regex.compile(r"[\w\p{M}]")


@pytest.fixture(scope="module")
def linkers():
    kb = knowledge_base(*NAMES)
    return [DictionaryLinker(kb, case=case, min_length=1, stop_words=[]) for case in ("insensitive", "sensitive")]


@given(text=st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=20))
@example(text="aa bb aa")
@example(text="e\u0301a")
def test_every_mention_lies_in_the_text_at_boundaries_and_alone(linkers, text):
    for linker in linkers:
        mentions = linker([text])[0]
        end = 0
        for mention in mentions:
            assert end <= mention.start < mention.end <= len(text)
            end = mention.end
            for edge in (mention.start, mention.end):
                assert not (0 < edge < len(text) and WORD.match(text[edge - 1]) and WORD.match(text[edge]))
            name = mention.entity_id.removeprefix("x:")
            words = text[mention.start : mention.end]
            same = (
                (lambda s: unicodedata.normalize("NFC", s).lower().replace("ς", "σ"))
                if linker.case == "insensitive"
                else (lambda s: unicodedata.normalize("NFC", s))
            )
            assert same(words) == same(name)
