from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase
from knowledge_plugin.errors import KnowledgePluginError
from knowledge_plugin.evaluation import count_unlinkable
from tests import tiny
from tests.attacks.hostile import redeclare


def make(*entities, **options):
    return KnowledgeBase.from_entities(entities, torch.eye(len(entities)), name="t", **options)


def test_every_entity_has_a_name_to_link_by():
    assert count_unlinkable(tiny.knowledge_base()) == 0


@pytest.mark.parametrize("name", ["Of", "HERE", "a\0b", "X", " x ", "é", "e\u0301", " the ", "a" * 201])
def test_names_that_are_not_linked(name):
    kb = make(Entity("x:1", name), Entity("x:2", "Ada"))
    assert count_unlinkable(kb) == 1
    assert DictionaryLinker(kb)([f"in {name} now"]) == [[]]


@pytest.mark.parametrize("name", ["Office", "Xi", "東京", "a" * 200, "of X"])
def test_names_that_are_linked(name):
    kb = make(Entity("x:1", name), Entity("x:2", "Ada"))
    assert count_unlinkable(kb) == 0
    assert DictionaryLinker(kb)([f"in {name} now"])[0][0].entity_id == "x:1"


def test_one_name_is_enough():
    assert count_unlinkable(make(Entity("x:1", "Of", aliases=["X", "Ada"]))) == 0


def test_a_knowledge_base_without_names():
    assert count_unlinkable(make(Entity("x:1", ""), Entity("x:2", ""), linker="external")) == 2


def test_of_a_folder(tmp_path):
    make(Entity("x:1", "of"), Entity("x:2", "Ada")).save_pretrained(tmp_path)
    assert count_unlinkable(KnowledgeBase.from_pretrained(tmp_path)) == 1


@pytest.mark.parametrize("row", [2, -1, 2**40])
def test_names_that_lead_to_no_entity(tmp_path, row):
    make(Entity("x:1", "Ada"), Entity("x:2", "Bob")).save_pretrained(tmp_path)
    names = pa.table({"alias": ["Ada", "Bob"], "row": [0, row], "prior": pa.array([1.0, 1.0], pa.float32())})
    pq.write_table(names, tmp_path / "aliases.parquet")
    redeclare(tmp_path, "aliases.parquet")
    with pytest.raises(KnowledgePluginError, match="rows that are not there"):
        count_unlinkable(KnowledgeBase.from_pretrained(tmp_path))
