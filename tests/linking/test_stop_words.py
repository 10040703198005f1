from __future__ import annotations

from knowledge_plugin.knowledge_base.normalization import normalize
from knowledge_plugin.linking.stop_words import ENGLISH_STOP_WORDS


def test_words_are_written_as_text_is_compared():
    assert all(normalize(word, "insensitive") == word and word.strip() == word for word in ENGLISH_STOP_WORDS)


def test_function_words_are_in_and_names_are_not():
    assert {"the", "of", "an", "will", "may"} <= ENGLISH_STOP_WORDS
    assert not {"paris", "nice", "reading", "bath"} & ENGLISH_STOP_WORDS
