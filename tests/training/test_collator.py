from __future__ import annotations

import pytest
import torch

from knowledge_plugin import KnowledgePlugin, Mention
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.training.collator import TaskCollator
from tests import tiny

TEXTS = ["the museum in Paris", "the old town of New York and Berlin"]


@pytest.fixture
def attached(kb, model, wordpiece):
    with KnowledgePlugin.for_model(model, kb).attach(model, wordpiece) as attachment:
        yield attachment.tokenizer


def virtual(batch):
    return int((batch["input_ids"] >= 400).sum())


def test_raw_rows(attached):
    batch = TaskCollator(attached)([{"text": text, "label": i} for i, text in enumerate(TEXTS)])
    assert batch["labels"].tolist() == [0, 1]
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert batch["input_ids"].shape[0] == 2
    assert virtual(batch) == 3


def test_raw_and_tokenized_rows_give_the_same_batch(attached):
    raw = TaskCollator(attached)([{"text": text, "label": i} for i, text in enumerate(TEXTS)])
    rows = [{**attached(text), "label": i, "text": text} for i, text in enumerate(TEXTS)]
    tokenized = TaskCollator(attached)(rows)
    assert set(tokenized) == set(raw)
    assert all(torch.equal(raw[key], tokenized[key]) for key in raw)


@pytest.mark.parametrize("name", ["label", "labels"])
@pytest.mark.parametrize("values", [[0, 2], [0.5, 1.5], [[0.0, 1.0], [1.0, 0.0]]])
def test_labels_of_any_kind(attached, name, values):
    batch = TaskCollator(attached)([{"text": text, name: value} for text, value in zip(TEXTS, values, strict=True)])
    assert batch["labels"].tolist() == values


def test_rows_without_a_label(attached):
    assert "labels" not in TaskCollator(attached)([{"text": text} for text in TEXTS])


def test_given_mentions_beat_the_linker(attached):
    rows = [
        {"text": TEXTS[0], "mentions": [Mention(0, 3, "geo:york")], "label": 0},
        {"text": TEXTS[1], "mentions": [], "label": 1},
    ]
    assert virtual(TaskCollator(attached)(rows)) == 1


def test_pairs(attached):
    batch = TaskCollator(attached)([{"text": text, "text_pair": "in Berlin", "label": 0} for text in TEXTS])
    assert virtual(batch) == 5


def test_long_texts_are_cut(attached):
    batch = TaskCollator(attached)([{"text": "Paris and " * 100, "label": 0}])
    assert batch["input_ids"].shape[1] == tiny.tokenizer("wordpiece").model_max_length


def test_rows_that_are_neither(attached):
    with pytest.raises(TrainingError, match=r"has the columns \['label', 'sentence'\]"):
        TaskCollator(attached)([{"sentence": TEXTS[0], "label": 0}])


@pytest.mark.parametrize("name", ["label", "labels"])
@pytest.mark.parametrize("tokenized", [False, True])
def test_a_label_in_words(attached, name, tokenized):
    row = attached(TEXTS[0]) if tokenized else {"text": TEXTS[0]}
    with pytest.raises(TrainingError, match=rf"the {name} 'France'; expected a number. .*model\.config\.label2id\["):
        TaskCollator(attached)([{**row, name: 1}, {**row, name: "France"}])
