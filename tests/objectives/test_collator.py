from __future__ import annotations

import math

import pytest
import torch

from knowledge_plugin import KnowledgePlugin, Mention
from knowledge_plugin.data_rows import by_number
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.methods.map_tuning.training import OBJECTIVES
from knowledge_plugin.objectives.collator import TaskCollator
from tests import tiny
from tests.contract.architectures import build

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


def collator_of(model, tokenizer, kb):
    attachment = KnowledgePlugin.for_model(model, kb).attach(model, tokenizer)
    collator = TaskCollator()
    collator.use(attachment)
    return collator


def classifier(kind, labels):
    model = tiny.classifier(labels=labels)
    model.config.problem_type = kind
    return model


ONE, SEVERAL, NUMBER = "single_label_classification", "multi_label_classification", "regression"


@pytest.mark.parametrize("name", ["label", "labels"])
@pytest.mark.parametrize("tokenized", [False, True])
@pytest.mark.parametrize(
    ("kind", "size", "values", "expected"),
    [
        (None, 3, [0, 2], torch.tensor([0, 2])),
        (ONE, 3, [1.0, -100], torch.tensor([1, -100])),
        (None, 2, [True, 0.0], torch.tensor([1, 0])),
        (None, 2, [torch.tensor(1), 0], torch.tensor([1, 0])),
        (None, 3, [[1, 0, 1], [0, 0, 0]], torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])),
        (SEVERAL, 2, [[0.5, 1.0], [1, 0]], torch.tensor([[0.5, 1.0], [1.0, 0.0]])),
        (None, 1, [0.5, 3], torch.tensor([0.5, 3.0])),
        (NUMBER, 1, [1, 2], torch.tensor([1.0, 2.0])),
        (NUMBER, 2, [[1, 2], [0.5, 0]], torch.tensor([[1.0, 2.0], [0.5, 0.0]])),
    ],
)
def test_labels_as_the_loss_of_the_head_wants_them(wordpiece, kb, name, tokenized, kind, size, values, expected):
    model = classifier(kind, size)
    collator = collator_of(model, wordpiece, kb)
    rows = [{"text": text, name: value} for text, value in zip(TEXTS, values, strict=True)]
    rows = [collator.tokenizer(row.pop("text")) | row for row in rows] if tokenized else rows
    batch = collator(rows)
    assert batch["labels"].dtype == expected.dtype
    assert torch.equal(batch["labels"], expected)
    model(**batch).loss.backward()


@pytest.mark.parametrize(
    ("kind", "size", "values", "message"),
    [
        (None, 3, [0, None], "the label None; expected the number of a class from 0 to 2, .*Leave out rows"),
        (None, 3, [0, math.nan], "the label nan; expected the number of a class from 0 to 2, .*Leave out rows"),
        (ONE, 3, [0, 0.5], "the label 0.5; expected the number of a class from 0 to 2"),
        (None, 3, [0, 3], "the label 3, but the model's head has 3 classes"),
        (
            None,
            4,
            [[1, 0, 0, 0], [1, 0]],
            r"the label \[1, 0\]; expected .* or 0 and 1 for each of the head's 4",
        ),
        (None, 4, [1, [1, 0, 0, 0]], r"the label \[1, 0, 0, 0\]"),
        (ONE, 2, [0, [1, 0]], r"the label \[1, 0\]; expected the number of a class from 0 to 1"),
        (SEVERAL, 2, [[0, 1], 1], "the label 1; expected 0 and 1 for each of the head's 2 classes"),
        (NUMBER, 1, [0.5, math.nan], "the label nan; expected a number"),
        (NUMBER, 2, [[0, 1], 1], "the label 1; expected a list of 2 numbers"),
    ],
)
def test_labels_that_the_head_cannot_have(wordpiece, kb, kind, size, values, message):
    rows = [{"text": text, "label": value} for text, value in zip(TEXTS, values, strict=True)]
    collator = collator_of(classifier(kind, size), wordpiece, kb)
    with pytest.raises(TrainingError, match=f"the row 'the old town .*{message}"):
        collator(rows)
    with pytest.raises(TrainingError, match=f"^row 2 has .*{message}"):
        collator.check(rows, by_number)


@pytest.mark.parametrize(
    ("architecture", "label", "message"),
    [
        ("llama", 1, 'has the label 1; expected a text, since the model writes, such as {"text": "Ada'),
        ("t5", 1, "expected a text, since the model writes"),
        ("llama", None, "the label None; expected a text"),
        ("bert-masked-lm", 1, "the model predicts words. Type: objective='mention-mlm'"),
    ],
)
def test_a_number_for_a_model_that_predicts_words(wordpiece, kb, architecture, label, message):
    collator = collator_of(build(architecture), wordpiece, kb)
    with pytest.raises(TrainingError, match=message):
        collator([{"text": "the mayor of Paris", "label": label}])


def test_labels_of_tokens_are_left_as_they_are(wordpiece, kb):
    collator = collator_of(build("t5"), wordpiece, kb)
    rows = [{"text": "the mayor of Paris", "labels": [5, 6]}, {"text": "in Berlin", "labels": [7]}]
    collator.check(rows, by_number)
    assert collator(rows[:1])["labels"].tolist() == [[5, 6]]


def test_rows_without_a_label(attached):
    assert "labels" not in TaskCollator(attached)([{"text": text} for text in TEXTS])


def test_given_mentions_beat_the_linker(attached):
    rows = [
        {"text": TEXTS[0], "mentions": [Mention(0, 3, "geo:york")], "label": 0},
        {"text": TEXTS[1], "mentions": [], "label": 1},
    ]
    assert virtual(TaskCollator(attached)(rows)) == 1


@pytest.mark.parametrize("objective", ["task", "mention-mlm", "mention-clm", "describe"])
@pytest.mark.parametrize("part", [{"mentions": []}, {"text": TEXTS[0]}])
@pytest.mark.parametrize("turn", [1, -1])
def test_what_some_rows_have_and_others_have_not_is_never_overlooked(objective, part, turn, kb, model, wordpiece):
    rows = [{"label": 0, "text": TEXTS[1]} | part, {"label": 1, "text": TEXTS[1]}]
    if "text" in part:
        del rows[1]["text"]
    with KnowledgePlugin.for_model(model, kb).attach(model, wordpiece) as attachment:
        collator = OBJECTIVES[objective].collator(0)
        collator.use(attachment)
        with pytest.raises(TrainingError, match=f"1 of 2 rows of a batch have '{next(iter(part))}'"):
            collator(rows[::turn])


@pytest.mark.parametrize("objective", ["task", "mention-mlm", "mention-clm", "describe"])
@pytest.mark.parametrize("wrong", [None, 7, float("nan")])
def test_what_is_no_text(objective, wrong, kb, model, wordpiece):
    with KnowledgePlugin.for_model(model, kb).attach(model, wordpiece) as attachment:
        collator = OBJECTIVES[objective].collator(0)
        collator.use(attachment)
        for name in ("text", "text_pair"):
            row = {"text": TEXTS[0], "text_pair": "in York", "label": 0}
            with pytest.raises(TrainingError, match=f": {name}: expected a text in each row, found {wrong}"):
                collator([row, row | {name: wrong}])


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


def _decoder_batch(tokenizer, rows):
    bare = build("llama")
    attachment = KnowledgePlugin.for_model(bare, tiny.knowledge_base()).attach(bare, tokenizer)
    collator = TaskCollator()
    collator.use(attachment)
    return attachment, collator(rows)


def test_a_decoder_learns_from_the_answer_alone_and_nothing_is_linked_in_it(tokenizer):
    rows = [{"text": "the mayor of Paris came from", "label": "Berlin"}, {"text": "yes", "label": "it is"}]
    attachment, batch = _decoder_batch(tokenizer, rows)
    assert attachment.source.ids.mask(batch["input_ids"]).sum(1).tolist() == [1, 0]
    for ids, labels, row in zip(batch["input_ids"], batch["labels"], rows, strict=True):
        scored = labels[labels != -100]
        assert tokenizer.decode(scored).strip().lower() == row["label"].lower()
        assert torch.equal(ids[labels != -100], scored)
        assert bool((labels[: len(tokenizer(row["text"], add_special_tokens=False)["input_ids"])] == -100).all())


def test_mentions_that_are_given_are_of_the_text_before_the_answer(wordpiece):
    row = {"text": "the mayor of Paris came from", "label": "Berlin", "mentions": [[4, 9, "geo:york"]]}
    attachment, batch = _decoder_batch(wordpiece, [row])
    found = [attachment.source.entity_id(int(i)) for i in batch["input_ids"][0] if int(i) in attachment.source.ids]
    assert found == ["geo:york"]


def test_an_encoder_decoder_is_to_write_the_answer(wordpiece):
    bare = build("t5")
    attachment = KnowledgePlugin.for_model(bare, tiny.knowledge_base()).attach(bare, wordpiece)
    collator = TaskCollator()
    collator.use(attachment)
    batch = collator([{"text": "the mayor of Paris", "label": "Berlin"}, {"text": "a", "label": "the river"}])
    assert batch["labels"].shape[0] == 2
    assert wordpiece.decode(batch["labels"][1][batch["labels"][1] != -100], skip_special_tokens=True) == "the river"


def test_an_answer_that_does_not_fit_is_refused(wordpiece):
    with pytest.raises(TrainingError, match="does not fit"):
        _decoder_batch(wordpiece, [{"text": "the mayor", "label": "the river is wide " * 40}])


@pytest.mark.parametrize("label", ["", 3])
def test_answers_are_texts_that_say_something(wordpiece, label):
    with pytest.raises(TrainingError, match="expected a text"):
        _decoder_batch(wordpiece, [{"text": "the mayor", "label": "came"}, {"text": "a", "label": label}])
