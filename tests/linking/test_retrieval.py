from __future__ import annotations

import pytest
import torch

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import KnowledgeBaseError, LinkingError
from knowledge_plugin.linking import RetrievalLinker
from knowledge_plugin.linking import retrieval as module
from tests import tiny


def test_the_nearest_entry_of_all_blocks_is_found(kb, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 2)
    queries = torch.randn(4, 8)
    found = RetrievalLinker(kb, lambda texts: queries)(["a", "b", "c", "d"])
    expected = (queries @ kb.vectors(range(5)).T).max(dim=1)
    assert [kb.row(m[0].entity_id) for m in found] == expected.indices.tolist()
    assert [m[0].score for m in found] == pytest.approx(expected.values.tolist())


def test_nothing_is_linked_below_a_score_and_in_an_empty_text(kb):
    linker = RetrievalLinker(kb, lambda texts: torch.zeros(len(texts), 8), min_score=0.5)
    assert linker(["the river"]) == [[]]
    assert RetrievalLinker(kb, lambda texts: torch.ones(len(texts), 8))([" ", "a"])[0] == []
    assert linker([]) == []


def test_another_encoder_is_refused(kb):
    with pytest.raises(LinkingError, match="as wide as"):
        RetrievalLinker(kb, lambda texts: torch.zeros(len(texts), 9))(["a"])


def test_the_passage_stands_before_the_text(wordpiece):
    model, kb = tiny.classifier(), tiny.knowledge_base()
    linker = RetrievalLinker(kb, lambda texts: kb.vectors(kb.rows(["geo:york"] * len(texts))))
    plugin = KnowledgePlugin.for_model(model, kb, method="passage", tokens=2)
    with plugin.attach(model, wordpiece, linker=linker) as attachment:
        ids = attachment.tokenizer("the river is wide")["input_ids"]
        best = attachment.explain("the river is wide")[0].entity_id
        first = attachment.source.ids.of_row(kb.row(best))
        plain = wordpiece("the river is wide")["input_ids"]
        assert ids == [plain[0], first, first + 1, *plain[1:]]


def test_one_text_and_the_name_of_a_knowledge_base_are_refused(kb):
    with pytest.raises(LinkingError, match="found one text"):
        RetrievalLinker(kb, lambda texts: torch.zeros(len(texts), 8))("York")
    with pytest.raises(KnowledgeBaseError, match=r"KnowledgeBase\.from_pretrained\('passages'\)"):
        RetrievalLinker("passages", lambda texts: torch.zeros(len(texts), 8))
