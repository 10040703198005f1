from __future__ import annotations

import pytest

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import MentionError, TrainingError
from knowledge_plugin.injection.answers import (
    answer_places,
    answer_tokens,
    are_texts,
    check_answers,
    cut_from,
    generates,
    is_encoder_decoder,
    join_answer,
    predicts_words,
    prompt_mentions,
)
from tests import tiny
from tests.contract.architectures import build


@pytest.mark.parametrize(
    ("prompt", "answer", "text"),
    [
        ("she moved to", "paris", "she moved to paris"),
        ("she moved to ", "paris", "she moved to paris"),
        ("where?\n", "paris", "where?\nparis"),
        ("she moved to", " paris", "she moved to paris"),
        ("", "paris", " paris"),
    ],
)
def test_a_blank_stands_between_unless_there_is_one(prompt, answer, text):
    joined = join_answer(prompt, answer)
    assert joined.text == text
    assert joined.answer == answer
    assert joined.end == len(text)


@pytest.mark.parametrize("prompt", ["she moved to", "she moved to "])
@pytest.mark.parametrize("answer", ["new york", "paris", "zebra 7!"])
def test_the_tokens_of_an_answer_are_all_that_follow_the_prompt(tokenizer, prompt, answer):
    (found,) = answer_tokens(tokenizer, [join_answer(prompt, answer)], TrainingError)
    first = len(tokenizer("she moved to", add_special_tokens=False).input_ids)
    expected = tokenizer(f"she moved to {answer}", add_special_tokens=False).input_ids[first:]
    # A blank that is a token of its own is before the answer.
    assert expected[-len(found) :] == found
    assert len(expected) - len(found) in (0, 1)


def test_an_answer_without_a_token(wordpiece):
    with pytest.raises(TrainingError, match="has no token"):
        answer_tokens(wordpiece, [join_answer("she moved to", "\u200b")], TrainingError)


def test_where_an_answer_stands(tokenizer):
    joined = join_answer("she moved to", "new york")
    (tokens,) = answer_tokens(tokenizer, [joined], TrainingError)
    read = tokenizer(joined.text, return_offsets_mapping=True)
    options = {"follows": True, "error": TrainingError}
    places = answer_places(joined, read["input_ids"], read["offset_mapping"], tokens, **options)
    assert [read["input_ids"][i] for i in places] == tokens
    with pytest.raises(TrainingError, match=r"'new york' does not fit: .* Type: tokenizer\.model_max_length = "):
        answer_places(joined, read["input_ids"][: places[-1]], read["offset_mapping"][: places[-1]], tokens, **options)
    with pytest.raises(TrainingError, match="does not fit"):  # nothing of the text is left before it
        answer_places(joined, read["input_ids"][places[0] :], read["offset_mapping"][places[0] :], tokens, **options)


def test_nothing_stands_before_an_answer():
    joined = join_answer("", "paris")
    with pytest.raises(TrainingError, match="nothing stands before the label 'paris'"):
        answer_places(joined, [7], [(1, 6)], [7], follows=True, error=TrainingError)
    assert answer_places(joined, [7], [(1, 6)], [7], follows=False, error=TrainingError) == [0]


def test_labels_that_are_texts():
    assert are_texts(["Graz"])
    assert are_texts([1, "Graz"])
    assert not are_texts([1, 2])
    assert not are_texts(None)
    check_answers(["Graz", " Wien"], TrainingError)
    for wrong in (1, None, "", " \n"):
        with pytest.raises(TrainingError, match="expected a text in each that is not empty"):
            check_answers(["Graz", wrong], TrainingError)


def test_mentions_are_those_of_the_prompt(kb, model, tokenizer):
    with KnowledgePlugin.for_model(model, kb).attach(model, tokenizer) as attachment:
        prompts = ["a train from berlin to", "nothing"]
        found = prompt_mentions(attachment.tokenizer, prompts)
        assert [[m.entity_id for m in mentions] for mentions in found] == [["geo:berlin"], []]
        given = prompt_mentions(attachment.tokenizer, prompts, [[(0, 1, "geo:york")], []])
        assert [[m.entity_id for m in mentions] for mentions in given] == [["geo:york"], []]
        with pytest.raises(MentionError, match="does not fit its text"):
            prompt_mentions(attachment.tokenizer, prompts, [[(0, 30, "geo:york")], []])
        with attachment.disabled():
            assert prompt_mentions(attachment.tokenizer, prompts) == [[], []]


def test_the_side_that_is_cut():
    tokenizer = tiny.tokenizer("wordpiece")
    ids = tokenizer("the river is wide").input_ids
    with cut_from(tokenizer, "left"):
        assert tokenizer("the river is wide", truncation=True, max_length=4).input_ids == [ids[0], *ids[-3:]]
    assert tokenizer("the river is wide", truncation=True, max_length=4).input_ids == [*ids[:3], ids[-1]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama", (True, True, False)),
        ("t5", (True, True, True)),
        ("bert-masked-lm", (True, False, False)),
        ("llama-classification", (False, False, False)),
    ],
)
def test_what_a_model_does(name, expected):
    model = build(name)
    assert (predicts_words(model), generates(model), is_encoder_decoder(model)) == expected
