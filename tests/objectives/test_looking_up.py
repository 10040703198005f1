from __future__ import annotations

import pytest
import torch

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.hook import find_hooks
from knowledge_plugin.objectives import looking_up as module
from knowledge_plugin.objectives.looking_up import LookupCollator, looking_up, with_entry
from tests import tiny
from tests.contract.architectures import build

NAMES = ["Paris", "New York", "York", "Berlin"]
ROWS = [{"text": f"the mayor of {name} came from", "label": "the old town"} for name in NAMES]


def _collator(model, wordpiece, kb=None, **options):
    plugin = KnowledgePlugin.for_model(model, kb or tiny.knowledge_base(), method="memory", key_dim=3)
    collator = LookupCollator(**options)
    attachment = plugin.attach(model, wordpiece)
    collator.use(attachment)
    return attachment, collator


def test_the_entry_of_a_row_is_among_those_shown(wordpiece):
    attachment, collator = _collator(build("llama"), wordpiece)
    kb = attachment.source.knowledge_base
    batch = collator(ROWS)
    for ids, gold, name in zip(batch["input_ids"], batch["gold"], NAMES, strict=True):
        asked = gold != -100
        # From where the name has been read to the end.
        said = wordpiece.decode(ids[asked])
        assert said.endswith("came from the old town")
        assert name.lower().split()[-1].endswith(said.removesuffix("came from the old town").strip().removeprefix("##"))
        (place,) = set(gold[asked].tolist())
        assert kb[kb.entity_id(int(batch["shown"][place]))].label == name


def test_a_classifier_asks_once_for_the_text(wordpiece):
    attachment, collator = _collator(tiny.classifier(), wordpiece)
    batch = collator([row | {"label": 1} for row in ROWS] + [{"text": "the river is wide", "label": 0}])
    assert (batch["gold"] != -100).any(1).tolist() == [True] * 4 + [False]
    assert with_entry(find_hooks(attachment.model)[0], batch) == [True] * 4 + [False]


def test_others_are_shown_beside_and_never_twice(wordpiece, monkeypatch):
    monkeypatch.setattr(module, "_SHOWN", 10)
    entities = [Entity(f"x:{i}", f"place {i}", description="a") for i in range(200)]
    kb = KnowledgeBase.from_entities(entities, torch.randn(200, 8), name="places")
    _, collator = _collator(build("llama"), wordpiece, kb)
    own = [{"text": f"we saw place {i} and", "label": "yes"} for i in (3, 150)]
    shown = collator(own)["shown"].tolist()
    assert len(shown) == len(set(shown)) == 10
    assert {kb.row("x:3"), kb.row("x:150")} <= set(shown)
    collator.epoch = 1
    assert collator(own)["shown"].tolist() != shown
    collator.epoch = 0
    assert collator(own)["shown"].tolist() == shown  # after an interruption too
    assert "shown" not in collator.for_evaluation()(own)


def test_where_the_entry_is_not_shown_a_refusal_is_asked_for(wordpiece):
    attachment, collator = _collator(build("llama"), wordpiece, refusal="no", refusals=0.5)
    kb = attachment.source.knowledge_base
    seen = set()
    for collator.epoch in range(20):
        batch = collator(ROWS)
        for ids, labels, gold, name in zip(batch["input_ids"], batch["labels"], batch["gold"], NAMES, strict=True):
            answer = wordpiece.decode(ids[labels != -100])
            hidden = bool((gold == -100).all())
            assert answer == ("no" if hidden else "the old town")
            shown = {kb[kb.entity_id(int(row))].label for row in batch["shown"]}
            # Two entities are called Paris; the other one may be there.
            assert name == "Paris" or (name in shown) is not hidden
            seen.add(hidden)
    assert seen == {True, False}


def test_the_loss_of_look_ups_is_added_and_the_batch_is_the_models_own(wordpiece):
    attachment, collator = _collator(build("llama"), wordpiece)
    hook, batch = find_hooks(attachment.model)[0], collator(ROWS)
    with looking_up(attachment.model, hook, batch) as added:
        assert set(batch) <= {"input_ids", "attention_mask", "token_type_ids", "labels"}
        batch.pop("token_type_ids", None)
        outputs = attachment.model(**batch)
        assert float(added(outputs).detach()) > 0
    assert hook.shown_rows() is None


def test_rows_that_say_nothing_of_their_entry_are_refused(wordpiece):
    kb = KnowledgeBase.from_entities(tiny.ENTITIES, torch.randn(5, 8), name="cities", linker="external")
    _, collator = _collator(tiny.classifier(), wordpiece, kb)
    with pytest.raises(TrainingError, match="expected rows with 'mentions'"):
        collator([{"text": "the mayor of Paris", "label": 1}])


def test_given_mentions_beat_the_linker(wordpiece):
    attachment, collator = _collator(build("llama"), wordpiece)
    kb = attachment.source.knowledge_base
    batch = collator([ROWS[0] | {"mentions": [[0, 3, "geo:york"]]}])
    place = int(batch["gold"].max())
    assert kb.entity_id(int(batch["shown"][place])) == "geo:york"
