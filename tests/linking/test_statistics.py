from __future__ import annotations

import pytest
import torch

from knowledge_plugin import Entity, KnowledgeBase
from knowledge_plugin.linking import AliasStatistics, DictionaryLinker, alias_statistics


def knowledge_base(*names):
    entities = [Entity(f"x:{i}", names[0], aliases=names[1:]) for i, names in enumerate(names)]
    return KnowledgeBase.from_entities(entities, torch.zeros(len(entities), 1), name="t")


KB = knowledge_base(("Paris", "A"), ("PARIS",), ("Paris", "The City"), ("York",), ("york", "Of"), ("OF",), ("a", " "))


def test_statistics_of_a_linker_that_ignores_case():
    found = alias_statistics(KB)
    assert found == AliasStatistics(5, 4, 2, (("paris", 3), ("a", 2), ("of", 2), ("york", 2)))
    assert found.ambiguity_rate == pytest.approx(0.8)


def test_statistics_of_a_linker_of_ones_own():
    linker = DictionaryLinker(KB, case="sensitive", min_length=1, stop_words=["york"])
    found = alias_statistics(KB, linker, top=1)
    assert found == AliasStatistics(9, 1, 2, (("Paris", 2),))


def test_a_knowledge_base_without_names():
    kb = KnowledgeBase.from_entities([Entity("x:1", "")], [[0.0]], name="t", linker="external")
    assert alias_statistics(kb) == AliasStatistics(0, 0, 0, ())
    assert alias_statistics(kb).ambiguity_rate == 0
