from __future__ import annotations

import pytest
import torch

from knowledge_plugin.evaluation import random, shuffled
from knowledge_plugin.evaluation.conditions import CONTROLS, behind, find_conditions
from knowledge_plugin.injection.hook import find_hooks
from tests.evaluation import bag


@pytest.fixture
def hook(classifier, knowing, wordpiece):
    with knowing.attach(classifier, wordpiece):
        yield find_hooks(classifier)[0]


def rows_of(hook):
    """Return what stands behind every virtual id, ``[entities, width]``."""
    with torch.no_grad():
        return hook.mapping(hook.vectors(torch.arange(bag.N)))


def behind_each(hook, plugin, seed=0):
    found = {}
    for name, make in find_conditions(CONTROLS, plugin, hook, seed).items():
        condition = make()
        with behind(hook, condition):
            found[name] = (condition.way, rows_of(hook))
    return found


def test_what_stands_behind_the_virtual_tokens(hook, knowing, towns):
    found = behind_each(hook, knowing, seed=3)
    assert list(found) == ["none", "plugin", "untrained", "shuffled", "random", "zero", "text"]
    assert {name: way for name, (way, _) in found.items() if way != "linked"} == {"none": "plain", "text": "text"}
    every = torch.arange(bag.N)
    with torch.no_grad():
        for name, kb in (("plugin", towns), ("shuffled", shuffled(towns, 3)), ("random", random(towns, 3))):
            assert torch.equal(found[name][1], hook.mapping(kb.vectors(every)))
    assert not found["zero"][1].any()
    assert found["untrained"][1].shape == found["plugin"][1].shape
    assert found["untrained"][1].std() > 0.1


def test_afterwards_the_plugins_own_are_back(hook, knowing):
    before = hook.vectors, hook.mapping
    (make,) = [make for name, make in find_conditions(["untrained"], knowing, hook, 0).items() if name == "untrained"]
    with pytest.raises(KeyboardInterrupt), behind(hook, make()):
        assert hook.mapping is not before[1]
        raise KeyboardInterrupt
    assert (hook.vectors, hook.mapping) == before


def test_a_seed_gives_the_same_again_and_another_gives_another(hook, knowing):
    first, again, other = (behind_each(hook, knowing, seed) for seed in (1, 1, 2))
    for name in ("untrained", "shuffled", "random"):
        assert torch.equal(first[name][1], again[name][1])
        assert not torch.equal(first[name][1], other[name][1])


def test_the_plugin_is_always_among_them(hook, knowing):
    assert list(find_conditions([], knowing, hook, 0)) == ["plugin"]
    assert list(find_conditions(["zero", "none"], knowing, hook, 0)) == ["none", "plugin", "zero"]
