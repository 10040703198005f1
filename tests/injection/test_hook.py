from __future__ import annotations

import copy
import pickle

import pytest
from torch import nn

from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.injection.hook import Hook, find_hooks
from knowledge_plugin.injection.network import Network
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.injection.virtual_ids import VirtualIds


class Nothing(Hook):
    """Hangs on the model and does nothing."""

    def attach(self, model: nn.Module) -> None:
        self._handles.append(bare_model(model).register_forward_pre_hook(self.before))

    def before(self, module, args):
        return None


@pytest.fixture
def hooks(model, kb):
    made = [Nothing(PlacedIndex(kb), Network(), VirtualIds.none()) for _ in range(3)]
    for hook in (made[1], made[0], made[2]):
        hook.attach(model)
    return made


def test_hooks_are_found_in_the_order_in_which_they_were_made(model, hooks):
    assert find_hooks(model) == hooks


def test_they_detach_in_any_order(model, hooks):
    before = len(model._forward_pre_hooks)
    hooks[1].detach(model)
    assert find_hooks(model) == [hooks[0], hooks[2]]
    assert len(model._forward_pre_hooks) == before - 1


def test_a_copy_has_hooks_of_its_own_with_the_same_plugin(model, hooks):
    twin = copy.deepcopy(model)
    copied = find_hooks(twin)
    assert [hook.number for hook in copied] == [hook.number for hook in hooks]
    assert all(a is not b and a.mapping is b.mapping for a, b in zip(copied, hooks, strict=True))
    copied[0].detach(twin)
    assert len(find_hooks(twin)) == 2
    assert find_hooks(model) == hooks


def test_a_pickled_one_owns_no_handles(hooks):
    other = pickle.loads(pickle.dumps(hooks[0]))
    assert other._handles == []
    assert other.number == hooks[0].number
