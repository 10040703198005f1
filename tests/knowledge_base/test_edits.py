from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin import Entity, KnowledgeBase
from knowledge_plugin.config import MAX_HISTORY, VersionConfig
from knowledge_plugin.errors import KnowledgeBaseError, UnknownEntityError
from knowledge_plugin.knowledge_base import edits, embedding_index

NAMES = ["Paris", "paris", "Rome", "Oslo", "Bern"]


def made(count, dtype="float32", seed=0):
    entities = [
        Entity(f"x:{i}", NAMES[i % 5], aliases=[f"name {i}"], description=f"d{i}", popularity=float(-i % 7))
        for i in range(count)
    ]
    vectors = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    kb = KnowledgeBase.from_entities(entities, vectors, name="t", version="1", dtype=dtype)
    return kb, entities, dict(zip([e.id for e in entities], vectors, strict=True))


def check(kb, entities, vectors):
    """Compare with what is made of the same entities at once."""
    ids = [e.id for e in entities]
    fresh = KnowledgeBase.from_entities(
        entities, torch.stack([vectors[i] for i in ids]), name="t", dtype=kb.config.dtype
    )
    assert sorted(e.id for e in kb) == sorted(ids)
    for entity in entities:
        assert kb[entity.id] == entity
        assert kb.entity_id(kb.row(entity.id)) == entity.id
    assert torch.equal(kb.vectors(kb.rows(ids)), fresh.vectors(fresh.rows(ids)))

    def priors(of):
        return sorted((name, of.entity_id(row), prior) for name, row, prior in of.names())

    assert priors(kb) == priors(fresh)
    assert kb.config.rows == len(ids)
    assert kb.config.aliases == len(priors(fresh))


@pytest.fixture(params=[2_000_000_000, 60], ids=["one shard", "shards"])
def shard_bytes(request, monkeypatch):
    monkeypatch.setattr(embedding_index, "MAX_SHARD_BYTES", request.param)
    return request.param


@given(st.sets(st.integers(0, 11), min_size=1, max_size=11), st.sampled_from(["float32", "int8"]))
def test_removing(rows, dtype):
    kb, entities, vectors = made(12, dtype)
    kb.remove(f"x:{i}" for i in rows)
    check(kb, [e for i, e in enumerate(entities) if i not in rows], vectors)
    assert all(f"x:{i}" not in kb for i in rows)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_edits_of_what_lies_on_disk(tmp_path, shard_bytes, dtype):
    made(12, dtype)[0].save_pretrained(tmp_path / "kb")
    kb, (_, entities, vectors) = KnowledgeBase.from_pretrained(tmp_path / "kb"), made(12, dtype)
    more, new = [Entity("x:3", "Tokyo"), Entity("y:1", "Paris", popularity=9)], torch.randn(2, 4)
    kb.upsert(more, new)
    vectors |= {"x:3": new[0], "y:1": new[1]}
    entities = [*(e for e in entities if e.id != "x:3"), *more]
    check(kb, entities, vectors)
    kb.remove(["x:5", "x:11"])
    entities = [e for e in entities if e.id not in ("x:5", "x:11")]
    check(kb, entities, vectors)
    for folder in ("kb", "other"):
        kb.save_pretrained(tmp_path / folder)
        again = KnowledgeBase.from_pretrained(tmp_path / folder)
        again.verify()
        check(again, entities, vectors)


def test_shards_that_did_not_change_are_not_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_index, "MAX_SHARD_BYTES", 100)  # five rows in a shard
    monkeypatch.setattr(embedding_index, "_SMALL_SHARD", 0)
    kb, _, _ = made(15)
    kb.save_pretrained(tmp_path)
    kb = KnowledgeBase.from_pretrained(tmp_path)

    def files():
        return [path.stat().st_ino for path in sorted(tmp_path.glob("embeddings-*"))]

    first = files()
    victim = kb.entity_id(7)
    kb.upsert([Entity(victim, "Paris"), Entity("y:1", "New")], torch.ones(2, 4))
    kb.save_pretrained(tmp_path)
    second = files()
    assert (len(first), len(second)) == (3, 4)
    assert [second[0], second[2]] == [first[0], first[2]]
    assert second[1] != first[1]
    kb = KnowledgeBase.from_pretrained(tmp_path)
    kb.remove([kb.entity_id(14)])
    kb.save_pretrained(tmp_path)
    third = files()
    assert third[:2] == second[:2]
    assert third[2] not in second
    KnowledgeBase.from_pretrained(tmp_path).verify()


def test_a_shard_that_somebody_replaced_is_written_from_what_was_opened(tmp_path):
    made(5)[0].save_pretrained(tmp_path / "kb")
    kb = KnowledgeBase.from_pretrained(tmp_path / "kb")
    expected = kb.vectors(range(5))
    made(5, seed=1)[0].save_pretrained(tmp_path / "kb")
    kb.upsert([Entity("y:1", "New")], torch.ones(1, 4))
    kb.save_pretrained(tmp_path / "other")
    assert torch.equal(KnowledgeBase.from_pretrained(tmp_path / "other").vectors(range(5)), expected)


def test_many_small_changes_make_no_shards_of_their_own(tmp_path):
    made(5)[0].save_pretrained(tmp_path)
    for i in range(5):
        kb = KnowledgeBase.from_pretrained(tmp_path)
        kb.upsert([Entity(f"y:{i}", "New")], torch.full((1, 4), float(i)))
        kb.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("embeddings-*"))) == 1
    assert kb.vectors(kb.rows([f"y:{i}" for i in range(5)]))[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_the_history(tmp_path):
    kb, _, _ = made(5)
    assert kb.config.history == []
    kb.upsert([Entity("x:1", "A"), Entity("y:1", "B")], torch.ones(2, 4), version="2")
    kb.remove(["x:0", "y:1"])
    kb.upsert([], torch.ones(0, 4), version="nothing happened")
    kb.save_pretrained(tmp_path)
    found = KnowledgeBase.from_pretrained(tmp_path).config
    assert found.version == "2"
    assert found.history == [
        VersionConfig("1", 5),
        VersionConfig("2", 6, added=1, replaced=1),
        VersionConfig("2", 4, removed=2),
    ]


def test_the_history_is_bounded(monkeypatch):
    monkeypatch.setattr(edits, "MAX_HISTORY", 3)
    kb, _, _ = made(5)
    for i in range(5):
        kb.upsert([Entity("x:1", f"A{i}")], torch.ones(1, 4), version=str(i))
    assert [step.version for step in kb.config.history] == ["2", "3", "4"]
    assert MAX_HISTORY > 100


def test_removing_what_is_not_there_changes_nothing():
    kb, entities, vectors = made(5)
    for ids in (["x:1", "x:9"], [None], ["x:1\0"]):
        with pytest.raises(UnknownEntityError, match="Nothing was removed"):
            kb.remove(ids)
    with pytest.raises(UnknownEntityError, match="expected a list of ids"):
        kb.remove("x:1")
    with pytest.raises(KnowledgeBaseError, match="no entity at all"):
        kb.remove([e.id for e in entities])
    kb.remove([])
    check(kb, entities, vectors)
    assert kb.config.history == []


def test_priors_of_an_author_stay_where_nothing_was_removed():
    kb, _, _ = made(5)
    before = {(name, kb.entity_id(row)): prior for name, row, prior in kb.names()}
    kb.remove(["x:0"])  # "Paris", which x:1 ("paris") shares
    after = {(name, kb.entity_id(row)): prior for name, row, prior in kb.names()}
    assert after[("paris", "x:1")] == 1.0 != before[("paris", "x:1")]
    assert all(before[key] == prior for key, prior in after.items() if key[0] != "paris")
