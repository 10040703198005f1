from __future__ import annotations

import pytest

from knowledge_plugin.injection.splicing import Separator, VirtualToken, splice
from tests import tiny

SLASH = Separator((7,), ("/",))


def encode(text, **kwargs):
    return tiny.tokenizer("wordpiece").backend_tokenizer.encode(text, add_special_tokens=False, **kwargs)


@pytest.fixture
def encoding():
    return encode("paris and berlin")


def test_concat_puts_the_token_and_the_separator_before_the_mention(encoding):
    spliced = splice(encoding, [VirtualToken(0, 5, 999, "<999>", SLASH), VirtualToken(10, 16, 998, "<998>", SLASH)])
    assert spliced.tokens == ["<999>", "/", "paris", "and", "<998>", "/", "berlin"]
    assert spliced.ids[:2] == [999, 7]
    assert spliced.word_ids == [None, None, 0, 1, None, None, 2]
    assert spliced.offsets[0] == spliced.offsets[1] == (0, 0)
    assert spliced.special_tokens_mask == [1, 1, 0, 0, 1, 1, 0]
    assert spliced.attention_mask == [1] * 7


def test_each_token_has_a_separator_of_its_own(encoding):
    arrow = Separator((8, 9), ("-", ">"))
    spliced = splice(encoding, [VirtualToken(0, 5, 999, "<999>", SLASH), VirtualToken(10, 16, 998, "<998>", arrow)])
    assert spliced.tokens == ["<999>", "/", "paris", "and", "<998>", "-", ">", "berlin"]


def test_replace_takes_the_mentions_word_and_span(encoding):
    spliced = splice(encoding, [VirtualToken(10, 16, 998, "<998>", None)])
    assert spliced.tokens == ["paris", "and", "<998>"]
    assert spliced.offsets[2] == (10, 16)
    assert spliced.word_ids[2] == 2
    assert spliced.special_tokens_mask == [0, 0, 0]


def test_without_virtual_tokens_it_is_a_copy_of_another_type(encoding):
    copied = splice(encoding, [], type_id=1)
    assert copied.ids == encoding.ids
    assert copied.type_ids == [1] * len(encoding.ids)


def test_tokens_to_keep_out_are_left_alone(encoding):
    spliced = splice(encoding, [VirtualToken(0, 5, 999, "<999>", SLASH)], keep_out=frozenset({encoding.ids[0]}))
    assert spliced.ids == encoding.ids


def test_a_span_that_meets_no_token_is_passed_over(encoding):
    assert splice(encoding, [VirtualToken(5, 6, 999, "<999>", SLASH)]).ids == encoding.ids
    assert splice(encode(""), [VirtualToken(0, 1, 999, "<999>", SLASH)]).ids == []


def test_a_mention_within_a_token_stands_before_the_whole_token(encoding):
    assert splice(encoding, [VirtualToken(2, 4, 999, "<999>", SLASH)]).tokens[:3] == ["<999>", "/", "paris"]


def test_in_words_a_mention_is_found_by_word_and_character():
    encoding = encode(["see", "paris", "berlin"], is_pretokenized=True)
    spliced = splice(encoding, [VirtualToken(0, 6, 999, "<999>", None, word=1, end_word=2)])
    assert [token for token in spliced.tokens if token.startswith("<")] == ["<999>"]
    assert spliced.word_ids[-1] == 1
