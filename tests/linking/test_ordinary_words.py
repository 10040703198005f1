from __future__ import annotations

import pytest
import torch

from knowledge_plugin import Entity, KnowledgeBase
from knowledge_plugin.errors import LinkingError
from knowledge_plugin.linking import DictionaryLinker, ordinary_words

NAMES = ["Reading", "Nice", "York", "Of", "aspirin", "Aspirin", "New York", "東京", "Mobile"]


def knowledge_base(names=NAMES):
    entities = [Entity(f"x:{i}", name) for i, name in enumerate(names)]
    return KnowledgeBase.from_entities(entities, torch.zeros(len(names), 1), name="t")


def test_names_that_texts_write_as_words():
    texts = ["A nice day for reading in york, or York. York, she said, took aspirin to 東京 and 東京."] * 3
    assert ordinary_words(knowledge_base(), texts, min_count=3) == ["nice", "reading"]


def test_a_word_is_judged_by_its_majority():
    texts = ["in nice, in nice", "in Nice, in Nice"]
    assert ordinary_words(knowledge_base(), texts, min_count=1) == []
    assert ordinary_words(knowledge_base(), [*texts, "in nice"], min_count=1) == ["nice"]


def test_where_a_sentence_begins_nothing_is_counted():
    texts = ["Reading helps. Reading is fun! She likes reading."]
    assert ordinary_words(knowledge_base(), texts, min_count=1) == ["reading"]


def test_a_rare_word_is_not_judged():
    assert ordinary_words(knowledge_base(), ["so nice"] * 4) == []
    assert ordinary_words(knowledge_base(), ["so nice"] * 5) == ["nice"]


def test_what_is_found_is_not_linked():
    kb = knowledge_base()
    words = ordinary_words(kb, iter(["so nice"] * 5))
    assert DictionaryLinker(kb, stop_words=words)(["Nice"]) == [[]]
    assert DictionaryLinker(kb)(["Nice"]) != [[]]


def test_one_text_is_no_list_of_texts():
    with pytest.raises(LinkingError, match=r"expected a list of texts, found one text. Type: \[text\]"):
        ordinary_words(knowledge_base(), "so nice")
