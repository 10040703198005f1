from __future__ import annotations

import pytest
import torch

from knowledge_plugin import Mention
from knowledge_plugin.errors import EvaluationError, LinkingError, MentionError
from knowledge_plugin.evaluation.rows import class_labels, clusters_of, read_rows, with_answers

PARIS = {"text": "in paris now", "label": 1}


@pytest.fixture
def source(model, wordpiece, kb):
    from knowledge_plugin import KnowledgePlugin

    with KnowledgePlugin.for_model(model, kb).attach(model, wordpiece) as attachment:
        yield attachment.source


def test_rows_are_linked(source):
    rows = read_rows([PARIS, {"text": "nowhere", "label": 0}], source)
    assert [[m.entity_id for m in found] for found in rows.mentions] == [["geo:paris"], []]
    assert (rows.texts, rows.labels, rows.pairs, rows.pair_mentions) == (
        ["in paris now", "nowhere"],
        [1, 0],
        None,
        None,
    )


def test_given_mentions_beat_the_linker_and_those_nobody_knows_are_dropped(source):
    given = [{"start": 3, "end": 8, "entity_id": "geo:berlin", "score": 1.0}, (0, 2, "geo:atlantis")]
    with pytest.warns(UserWarning, match="1 of 2 mentions so far .*'geo:atlantis'"):
        rows = read_rows([PARIS | {"mentions": given}], source)
    assert rows.mentions == [[Mention(3, 8, "geo:berlin")]]


@pytest.mark.parametrize("given", [True, False])
def test_what_nobody_knows_takes_no_room_from_what_is_known(source, given):
    mentions = [Mention(3, 8, "geo:berlin"), Mention(0, 12, "geo:atlantis")]
    source.linker = lambda texts: [mentions for _ in texts]
    with pytest.warns(UserWarning, match="'geo:atlantis'"):
        rows = read_rows([PARIS | ({"mentions": mentions} if given else {})], source)
    assert rows.mentions == [mentions[:1]]


def test_given_mentions_as_columns(source):
    given = {"start": [3], "end": [8], "entity_id": ["geo:berlin"]}
    assert read_rows([PARIS | {"mentions": given}], source).mentions == [[Mention(3, 8, "geo:berlin")]]


def test_second_texts_are_linked_too(source):
    rows = read_rows([PARIS | {"text_pair": "and berlin"}], source)
    assert [m.entity_id for m in rows.pair_mentions[0]] == ["geo:berlin"]


def test_a_dataset_of_datasets_and_one_that_yields(source):
    datasets = pytest.importorskip("datasets")
    of_datasets, yielded = (
        read_rows(data, source) for data in (datasets.Dataset.from_list([PARIS] * 3), (PARIS for _ in range(3)))
    )
    assert of_datasets == yielded
    assert len(yielded) == 3


def test_labels_called_labels(source):
    assert read_rows([{"text": "paris", "labels": 2}], source).labels == [2]
    assert read_rows([{"text": "paris"}], source).labels is None


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([], "the dataset is empty: expected rows such as"),
        ({"train": [PARIS], "test": [PARIS]}, r"type dataset\['train'\]"),
        ([PARIS, "in paris"], "row 2: expected a row such as .* found 'in paris'"),
        ([{"sentence": "in paris", "label": 1}], r"has the columns \['label', 'sentence'\]; expected 'text'"),
        ([{"input_ids": [1, 2], "label": 1}], "Rows that are tokenized"),
        ([PARIS, {"text": "x"}], "'label' is in 1 of 2 rows: .* row 2 has none"),
        ([PARIS, PARIS | {"text": None}], "row 2: text: expected a text in each row, found None"),
        ([PARIS | {"text_pair": 5}], "row 1: text_pair: expected a text in each row, found 5"),
    ],
)
def test_rows_of_another_form(source, dataset, message):
    with pytest.raises(EvaluationError, match=message):
        read_rows(dataset, source)


def test_mentions_that_do_not_fit(source):
    with pytest.raises(MentionError, match="does not fit its text"):
        read_rows([PARIS | {"mentions": [(0, 99, "geo:paris")]}], source)


def test_nothing_finds_mentions(source):
    source.linker = None
    assert read_rows([PARIS | {"mentions": []}], source).mentions == [[]]
    with pytest.raises(LinkingError, match="Pass linker="):
        read_rows([PARIS], source)


# ---- labels --------------------------------------------------------------------------------------------------------


def test_one_label_several_and_a_number():
    assert torch.equal(class_labels([0, 2, 1], 3), torch.tensor([0, 2, 1]))
    assert torch.equal(class_labels([torch.tensor(1), 1.0, True], 3), torch.tensor([1, 1, 1]))
    assert torch.equal(class_labels([[0, 1.0, 1], [0, 0, 0]], 3), torch.tensor([[0, 1, 1], [0, 0, 0]]))
    numbers = class_labels([0.5, 3], 1)
    assert (numbers.tolist(), numbers.dtype) == ([0.5, 3.0], torch.float64)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "no 'label'"),
        ([0, "Austria"], r"row 2 has the label 'Austria'; expected a number.*label2id"),
        ([0, 3], "row 2 has the label 3, but the model's head has 3 classes: expected a number from 0 to 2"),
        ([-1], "label -1"),
        ([-100, 0], "leave rows out that are not to be scored"),
        ([1, 0.5], "row 2 has the label 0.5; expected the number of a class from 0 to 2"),
        ([0, None], "row 2 has the label None; expected the number of a class from 0 to 2, .* Leave out rows without"),
        ([[0, 1]], "0 and 1 for each of the head's 3 classes"),
        ([[0, 1, 2]], "0 and 1 for each of the head's 3 classes"),
        ([[0, 1, 0], [1]], "0 and 1 for each of the head's 3 classes"),
        ([0, float("nan")], "row 2 has the label nan; expected the number of a class"),
        ([0, [0, 1, 0]], r"row 2 has the label \[0, 1, 0\]"),
        ([1, {"a": 1}], "row 2 has the label {'a': 1}"),
        ([1, 10**30], "row 2 has the label 1000000"),
    ],
)
def test_labels_that_the_head_has_not(labels, message):
    with pytest.raises(EvaluationError, match=message):
        class_labels(labels, 3)


# ---- answers -------------------------------------------------------------------------------------------------------


def test_answers_stand_behind_the_texts_and_mention_nothing(source):
    rows = read_rows([{"text": "a train from berlin to", "label": "paris"}, {"text": "in ", "label": "york"}], source)
    answered = with_answers(rows)
    assert answered.texts == ["a train from berlin to paris", "in york"]
    assert [each.answer for each in answered.answers] == ["paris", "york"]
    assert answered.mentions == rows.mentions == [[Mention(13, 19, "geo:berlin")], []]


def test_answers_take_the_place_of_the_mask(source):
    mentions = [(0, 6, "geo:berlin"), (7, 13, "geo:york"), (17, 22, "geo:paris")]
    rows = read_rows([{"text": "berlin [MASK] is paris", "label": "or", "mentions": mentions[:1]}], source)
    assert with_answers(rows, "[MASK]").texts == ["berlin or is paris"]
    rows = read_rows([{"text": "berlin [MASK] is paris", "label": "or", "mentions": mentions}], source)
    (found,) = with_answers(rows, "[MASK]").mentions  # the one at the mask would be the answer
    assert found == [Mention(0, 6, "geo:berlin"), Mention(13, 18, "geo:paris")]


@pytest.mark.parametrize("text", ["in paris", "[MASK] in [MASK]"])
def test_a_text_without_the_one_place_for_its_answer(source, text):
    rows = read_rows([{"text": text, "label": "graz"}], source)
    with pytest.raises(EvaluationError, match=r"expected \[MASK\] once in the text, .* found it [02] times"):
        with_answers(rows, "[MASK]")


@pytest.mark.parametrize("wrong", ["", 3, None])
def test_an_answer_that_is_none(source, wrong):
    rows = read_rows([{"text": "in", "label": "graz"}, {"text": "in", "label": wrong}], source)
    with pytest.raises(EvaluationError, match=r"row 2: .* expected a text in each that is not empty"):
        with_answers(rows)


# ---- clusters ------------------------------------------------------------------------------------------------------


def test_rows_about_one_entity_are_one_cluster():
    assert clusters_of([["x:1", "x:2"], ["x:2"], ["x:1"], [], []]).tolist() == [0, 1, 0, 2, 3]


def test_an_entity_called_like_a_row_number_is_no_row():
    assert clusters_of([[], ["0"], [], ["0"]]).tolist() == [0, 1, 2, 1]
