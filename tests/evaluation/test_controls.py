from __future__ import annotations

import pytest
import torch

from knowledge_plugin import Entity, KnowledgeBase
from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.evaluation.controls import random, shuffled, zero
from tests import tiny


def vectors(kb):
    return kb.vectors(range(len(kb)))


@pytest.fixture(params=[2, 3, 5, 60])
def sized(request):
    entities = [Entity(f"x:{i}", f"name {i}") for i in range(request.param)]
    return KnowledgeBase.from_entities(entities, torch.randn(request.param, 4), name="t")


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_has_the_same_vectors_and_nobody_keeps_their_own(sized, seed):
    before, after = vectors(sized), vectors(shuffled(sized, seed))
    assert sorted(after.tolist()) == sorted(before.tolist())
    assert not (before == after).all(dim=1).any()


@pytest.mark.parametrize("seed", range(5))
def test_random_vectors_are_as_long_as_the_real_ones(sized, seed):
    before, after = vectors(sized), vectors(random(sized, seed))
    torch.testing.assert_close(after.norm(dim=1), before.norm(dim=1))
    assert not torch.isclose(before, after).all(dim=1).any()


@pytest.mark.parametrize("control", [shuffled, random, zero])
def test_a_control_changes_vectors_alone(kb, control):
    before = vectors(kb)
    other = control(kb)
    assert list(other) == list(kb)
    assert other.config == kb.config
    assert other.alias_lookup("insensitive").candidates("paris") == kb.alias_lookup("insensitive").candidates("paris")
    assert torch.equal(vectors(kb), before)


@pytest.mark.parametrize("control", [shuffled, random])
def test_a_seed_gives_the_same_again_and_another_gives_another(sized, control):
    assert torch.equal(vectors(control(sized, 3)), vectors(control(sized, 3)))
    if len(sized) > 20:
        assert not torch.equal(vectors(control(sized, 3)), vectors(control(sized, 4)))


@pytest.mark.parametrize("control", [shuffled, random])
def test_the_generator_of_others_is_left_alone(kb, control):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    control(kb)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("control", [shuffled, random])
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_control_of_a_folder_in_any_dtype(tmp_path, control, dtype):
    tiny.knowledge_base(dtype=dtype).save_pretrained(tmp_path)
    other = control(KnowledgeBase.from_pretrained(tmp_path))
    assert other.config.dtype == dtype
    other.save_pretrained(tmp_path / "other")
    assert torch.equal(vectors(KnowledgeBase.from_pretrained(tmp_path / "other")), vectors(other))


def test_one_entity_cannot_be_shuffled():
    kb = KnowledgeBase.from_entities([Entity("x:1", "Ada")], [[1.0]], name="t")
    with pytest.raises(KnowledgeBaseError, match="at least two"):
        shuffled(kb)


def test_a_vector_of_zeros_stays_one():
    kb = KnowledgeBase.from_entities([Entity("x:1", "Ada"), Entity("x:2", "Bob")], [[0.0, 0.0], [3.0, 4.0]], name="t")
    assert vectors(random(kb)).norm(dim=1).tolist() == pytest.approx([0, 5])


def test_zero_vectors(kb):
    assert vectors(zero(kb)).tolist() == [[0.0] * 8] * 5


@pytest.mark.parametrize("control", [shuffled, random, zero])
def test_keys_stay_where_entries_are_found_by_them(control):
    kb = tiny.knowledge_base()
    rows = torch.arange(len(kb))
    before, after = kb.vectors(rows), control(kb, **({} if control is zero else {"seed": 5}), key_dim=3).vectors(rows)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not (before[:, 3:] == after[:, 3:]).all(1).any()
    if control is random:
        torch.testing.assert_close(before[:, 3:].norm(dim=1), after[:, 3:].norm(dim=1))


@pytest.mark.parametrize("control", [shuffled, random, zero])
def test_vectors_that_are_keys_as_a_whole_have_no_control(control):
    with pytest.raises(KnowledgeBaseError, match="keys as a whole"):
        control(tiny.knowledge_base(), key_dim=8)
