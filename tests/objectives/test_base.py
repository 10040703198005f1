from __future__ import annotations

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.injection.hook import find_hooks
from knowledge_plugin.objectives.base import Objective
from knowledge_plugin.objectives.collator import TaskCollator


def test_a_row_has_to_do_with_an_entity_if_it_has_a_virtual_id(model, kb, wordpiece):
    with KnowledgePlugin.for_model(model, kb).attach(model, wordpiece) as (model, tokenizer):
        batch = tokenizer(["the river", "Paris", "yes"], padding=True, return_tensors="pt")
        assert Objective(TaskCollator).knows(find_hooks(model)[0], batch) == [False, True, False]


def test_by_default_nothing_is_missing(model, wordpiece):
    assert Objective(TaskCollator).missing(model, wordpiece, "concat") is None
