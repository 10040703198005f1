from __future__ import annotations

import pytest

from knowledge_plugin import Entity, KnowledgeBase
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.methods.passage.training import paraphrase_rows
from tests.methods.learning import check_it_learns


@pytest.mark.parametrize("objective", ["task", "distil"])
def test_it_learns_what_only_the_vectors_say(objective, tmp_path):
    check_it_learns("passage", tmp_path, objective)


def test_a_passage_is_to_be_written_again(kb):
    rows = paraphrase_rows(kb)
    assert [row["label"] for row in rows] == ["A city."]
    assert rows[0]["text"][slice(*rows[0]["mentions"][0][:2])] == "This"
    assert paraphrase_rows(kb, ["geo:new-york"])[0]["mentions"][0][2] == "geo:new-york"


def test_without_a_passage_there_is_nothing_to_write():
    kb = KnowledgeBase.from_entities([Entity("x:1", "a")], [[1.0]], name="a")
    with pytest.raises(TrainingError, match="description"):
        paraphrase_rows(kb)
