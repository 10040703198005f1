from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
import regex
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from knowledge_plugin import Entity, KnowledgeBase, Mention
from knowledge_plugin.errors import KnowledgeBaseError, LinkingError
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


@pytest.mark.parametrize(
    "text", ["Yorkshire", "NewYork", "York2", "York_x", "aYork", "Yorké", "Yorke\u0301", "Ｙorkshire"]
)
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
BLANKLESS = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")


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
                around = text[edge - 1 : edge + 1] if 0 < edge < len(text) else ""
                assert len(WORD.findall(around)) != 2 or BLANKLESS.search(around)
            name = mention.entity_id.removeprefix("x:")
            words = text[mention.start : mention.end]
            same = (
                (lambda s: unicodedata.normalize("NFC", s).lower().replace("ς", "σ"))
                if linker.case == "insensitive"
                else (lambda s: unicodedata.normalize("NFC", s))
            )
            assert same(words) == same(name)


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("東京タワーは東京都にある", ["東京", "東京都", "東京タワー"], ["東京タワー", "東京都"]),
        ("我住在北京市朝阳区。", ["北京", "朝阳区"], ["北京", "朝阳区"]),
        ("เขาอยู่ที่กรุงเทพมหานคร", ["กรุงเทพมหานคร", "กรุงเทพ"], ["กรุงเทพมหานคร"]),
        ("ນະຄອນຫຼວງວຽງຈັນ", ["ວຽງຈັນ"], ["ວຽງຈັນ"]),
        ("ទីក្រុងភ្នំពេញ", ["ភ្នំពេញ"], ["ភ្នំពេញ"]),
        ("ရန်ကုန်မြို့", ["ရန်ကုန်"], ["ရန်ကုန်"]),
        ("the 東京 Tower", ["東京 Tower", "東京"], ["東京 Tower"]),
        ("新York行き", ["York"], ["York"]),
        ("ＮＨＫは東京で", ["NHK"], ["ＮＨＫ"]),
        ("ｶﾞｰﾅとガーナ", ["ガーナ"], ["ｶﾞｰﾅ", "ガーナ"]),
        ("カ\u3099ーナは😀東京\U00020bb7野家", ["ガーナ", "東京", "𠮷野家"], ["カ\u3099ーナ", "東京", "𠮷野家"]),
    ],
)
def test_scripts_without_blanks_need_no_word_boundaries(text, names, expected):
    assert [words for words, _ in found(text, *names)] == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [("コーヒー", "コーヒ"), ("กำแพง", "ก"), ("กี่", "ก"), ("佐々木", "佐"), ("東京25年", "東京2"), ("ក្ក", "ក")],
)
def test_no_letter_is_cut_from_what_is_written_onto_it_and_no_number_is_cut(text, name):
    assert found(text, name, min_length=1) == []


BLANKLESS_NAMES = "東|東京|京都|東京 a|カー|カ|a|ab|a東|12|京1|กร|กำ|😀|、東|b京b".split("|")
GOES_ON = "ー々ำ\u0e35"


def _is_boundary(text, i):
    if i in (0, len(text)) or not (WORD.match(text[i - 1]) and WORD.match(text[i])):
        return True
    before = text[:i].rstrip(GOES_ON) or "a"
    letters = [c for c in (before[-1], text[i]) if BLANKLESS.match(c)]
    return text[i] not in GOES_ON and bool(letters)


def _brute_force(text):
    spans = [
        (i, j)
        for i in range(len(text))
        for j in range(i + 1, len(text) + 1)
        if text[i:j] in BLANKLESS_NAMES and _is_boundary(text, i) and _is_boundary(text, j)
    ]
    kept = []
    for start, end in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
        if all(end <= s or e <= start for s, e in kept):
            kept.append((start, end))
    return sorted(kept)


@pytest.fixture(scope="module")
def blankless_linker():
    return DictionaryLinker(knowledge_base(*BLANKLESS_NAMES), case="sensitive", min_length=1, stop_words=[])


@given(text=st.text("東京都カーー々กรำ\u0e35abc12 、.😀", max_size=25))
@example(text="東京 ab東京都")
@example(text="aー東ーb")
def test_the_same_names_are_found_as_by_trying_every_slice(blankless_linker, text):
    assert [m[:2] for m in blankless_linker([text])[0]] == _brute_force(text)


def test_context_takes_the_entity_that_fits_the_other_mentions():
    kb = KnowledgeBase.from_entities(
        [
            Entity("x:paris", "Paris", popularity=99),
            Entity("x:paris-texas", "Paris", popularity=1),
            Entity("x:lyon", "Lyon"),
            Entity("x:dallas", "Dallas"),
        ],
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [0.1, 1.0]],
        name="t",
    )
    texts = ["Dallas and Paris", "Lyon and Paris", "Paris", "Paris and Paris"]
    taken = [[m.entity_id for m in row] for row in DictionaryLinker(kb, disambiguate="context")(texts)]
    assert taken == [
        ["x:dallas", "x:paris-texas"],
        ["x:lyon", "x:paris"],
        ["x:paris"],
        ["x:paris", "x:paris"],
    ]
    assert DictionaryLinker(kb)(texts)[0][1].entity_id == "x:paris"


def test_a_disambiguator_of_ones_own():
    kb = knowledge_base(Entity("x:a", "Paris", popularity=9), Entity("x:b", "Paris"), "Rome")

    def last(texts, choices):
        assert texts == ["Paris, Rome"]  # the other text leaves nothing to choose
        return [[range(len(choice.candidates)) for choice in row] for row in choices]

    linked = DictionaryLinker(kb, disambiguate=last)(["Rome", "Paris, Rome"])
    assert [[m.entity_id for m in row] for row in linked] == [["x:Rome"], ["x:b", "x:Rome"]]
    assert linked[1][0].score == pytest.approx(1 / 11)


def test_another_word_for_disambiguate_is_refused():
    with pytest.raises(LinkingError, match="disambiguate='context'"):
        DictionaryLinker(knowledge_base("York"), disambiguate="sentence")


@pytest.mark.parametrize("wrong", ["lower", "Sensitive", None, True])
def test_another_word_for_case_is_refused(wrong):
    kb = knowledge_base("York")
    with pytest.raises(LinkingError, match="case: expected 'insensitive' or 'sensitive', found"):
        DictionaryLinker(kb, case=wrong)
    for ask in (kb.alias_lookup, kb.ambiguity, lambda case: kb.best_entity("york", case)):
        with pytest.raises(KnowledgeBaseError, match="case: expected"):
            ask(wrong)


def test_a_text_is_no_list_of_stop_words():
    with pytest.raises(LinkingError, match="found the text 'york'"):
        DictionaryLinker(knowledge_base("York"), stop_words="york")


def test_one_text_is_not_linked_letter_by_letter():
    with pytest.raises(LinkingError, match=r"found one text. Type: \[text\]"):
        DictionaryLinker(knowledge_base("York"))("York")


@pytest.mark.parametrize("wrong", ["york", Path("york"), None])
def test_what_is_no_knowledge_base_is_refused(wrong):
    with pytest.raises(KnowledgeBaseError, match=r"expected a KnowledgeBase, found .*from_pretrained\("):
        DictionaryLinker(wrong)
