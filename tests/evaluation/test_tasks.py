from __future__ import annotations

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForTokenClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import EvaluationError
from knowledge_plugin.evaluation.readings import read_described, read_linked, read_plain
from knowledge_plugin.evaluation.rows import read_rows
from knowledge_plugin.evaluation.tasks import find_task, write_answers
from tests import tiny
from tests.evaluation import bag

TEXTS = ["the museum in paris opened", "a train from berlin to new york", "nothing to see"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
BERT = BertConfig(vocab_size=400, max_position_embeddings=64, **SIZES)


@pytest.fixture
def cities():
    entities = [Entity(e.id, e.label, description="the wide harbour") for e in tiny.ENTITIES]
    return KnowledgeBase.from_entities(entities, torch.randn(5, 8), name="cities")


def build(model, tokenizer, kb, labels=None, form="concat"):
    """Return the task, the rows and their readings, with the plugin attached."""
    torch.manual_seed(0)
    dataset = [{"text": t} | ({} if labels is None else {"label": labels[i]}) for i, t in enumerate(TEXTS)]
    attachment = KnowledgePlugin.for_model(model, kb).attach(model.eval(), tokenizer, form=form)
    rows = write_answers(model, tokenizer, read_rows(dataset, attachment.source))
    readings = {
        "plain": read_plain(rows, tokenizer),
        "linked": read_linked(rows, attachment),
        "text": read_described(rows, tokenizer, kb, "{description}")[0],
    }
    with torch.no_grad():
        return find_task(model, tokenizer, rows, readings), rows, readings


def masked_lm(seed=0):
    torch.manual_seed(seed)
    return BertForMaskedLM(BERT)


def decoder():
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=400, n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2)
    )


def words(answers, row):
    return answers.labels[answers.rows == row].tolist()


# ---- one answer for a text -----------------------------------------------------------------------------------------


def test_a_classifier_answers_each_text(wordpiece, cities):
    task, _, _ = build(tiny.classifier(), wordpiece, cities, labels=[0, 2, 1])
    assert (task.name, task.several_labels, task.is_number) == ("text-classification", False, False)
    with torch.no_grad():
        answers = task.answer("plain", [2, 0])
    assert answers.labels.tolist() == [1, 0]
    assert answers.rows.tolist() == [2, 0]
    assert answers.logits.shape == (2, 3)


def test_several_labels_and_a_number(wordpiece, cities):
    several, _, _ = build(tiny.classifier(), wordpiece, cities, labels=[[0, 1, 1], [1, 0, 0], [0, 0, 0]])
    assert several.several_labels
    number, _, _ = build(bag.bag(wordpiece, labels=1), wordpiece, cities, labels=[0.5, 1, 2])
    assert number.is_number


@pytest.mark.parametrize("cls", [BertModel, BertForTokenClassification])
def test_a_model_without_the_head(cls, wordpiece, cities):
    with pytest.raises(EvaluationError, match=r"AutoModelForSequenceClassification\.from_pretrained"):
        build(cls(BERT), wordpiece, cities, labels=[0, 1, 0])


# ---- words of the text ---------------------------------------------------------------------------------------------


def test_a_masked_language_model_is_asked_for_the_mentions(wordpiece, cities):
    task, _, _ = build(masked_lm(), wordpiece, cities)
    assert task.name == "fill-mask"
    with torch.no_grad():
        for way in ("plain", "linked", "text"):
            answers = task.answer(way, [1, 0, 2])
            assert words(answers, 0) == wordpiece("paris", add_special_tokens=False).input_ids
            assert words(answers, 1) == wordpiece("berlin new york", add_special_tokens=False).input_ids
            assert words(answers, 2) == []


def test_the_mentions_are_masked_and_their_loss_is_the_models_own(wordpiece, cities):
    model = masked_lm()
    task, _, readings = build(model, wordpiece, cities)
    ids = torch.tensor([readings["plain"].features[0]["input_ids"]])
    (paris,) = wordpiece("paris", add_special_tokens=False).input_ids
    labels = torch.where(ids == paris, ids, -100)
    with torch.no_grad():
        expected = model(input_ids=ids.masked_fill(ids == paris, wordpiece.mask_token_id), labels=labels).loss
        answers = task.answer("plain", [0])
    torch.testing.assert_close(functional.cross_entropy(answers.logits, answers.labels), expected)


def test_knowledge_changes_the_answer_and_other_rows_in_the_batch_do_not(wordpiece, cities):
    task, _, _ = build(masked_lm(), wordpiece, cities)
    with torch.no_grad():
        plain, linked = task.answer("plain", [0]), task.answer("linked", [0])
        both = task.answer("linked", [1, 0])
    assert not torch.allclose(plain.logits, linked.logits, atol=1e-4)
    torch.testing.assert_close(both.logits[both.rows == 0], linked.logits, rtol=1e-4, atol=1e-5)


def test_a_decoder_is_asked_for_every_word_but_the_first(cities):
    tokenizer = tiny.tokenizer("byte_bpe")
    model = decoder()
    task, _, readings = build(model, tokenizer, cities)
    assert task.name == "text-generation"
    with torch.no_grad():
        asked = [task.answer(way, [0, 1, 2]) for way in ("plain", "linked", "text")]
    for row, text in enumerate(TEXTS):
        # The first word is other tokens at the beginning of a text than after a description.
        later = [
            token
            for token, (start, _) in zip(
                readings["plain"].features[row]["input_ids"], readings["plain"].spans[row], strict=True
            )
            if start >= len(text.split()[0])
        ]
        for answers in asked:
            assert words(answers, row)[-len(later) :] == later
            assert words(answers, row) == words(asked[0], row)


def test_what_a_decoder_reads_first_is_scored_nowhere(cities):
    """Without a token that begins a text nothing predicts its first word, though an entity before it would."""
    tokenizer = tiny.tokenizer("wordpiece")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    attachment = KnowledgePlugin.for_model(model := decoder(), cities).attach(model.eval(), tokenizer)
    rows = write_answers(model, tokenizer, read_rows([{"text": "paris opened"}], attachment.source))
    readings = {"plain": read_plain(rows, tokenizer), "linked": read_linked(rows, attachment)}
    readings["text"], _ = read_described(rows, tokenizer, cities, "{description}")
    with torch.no_grad():
        task = find_task(model, tokenizer, rows, readings)
        for way in readings:
            assert words(task.answer(way, [0]), 0) == tokenizer("opened").input_ids


def test_the_loss_of_a_decoder_is_the_models_own(cities):
    tokenizer = tiny.tokenizer("byte_bpe")
    model = decoder()
    task, _, readings = build(model, tokenizer, cities)
    features = readings["plain"].features[2]["input_ids"]
    with torch.no_grad():
        answers = task.answer("plain", [2])
        logits = model(input_ids=torch.tensor([features])).logits[0]
    scored = words(answers, 2)
    assert scored == features[1:-1]  # every token of the text, which has no description, but neither <s> nor </s>
    torch.testing.assert_close(answers.logits, logits[: len(scored)])


def test_in_replace_form_no_mention_is_left_to_ask_for(wordpiece, cities):
    with pytest.raises(EvaluationError, match="use form='concat'"):
        build(masked_lm(), wordpiece, cities, form="replace")


def test_a_loss_that_is_no_cross_entropy_of_the_logits(wordpiece, cities):
    class Other(BertForMaskedLM):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.loss = None if output.loss is None else output.loss * 2
            return output

    task, _, _ = build(Other(BERT), wordpiece, cities)
    with torch.no_grad(), pytest.raises(EvaluationError, match="Other: expected a loss that is the cross-entropy"):
        task.answer("plain", [0])


def test_a_masked_language_model_without_a_mask_token(cities):
    tokenizer = tiny.tokenizer("wordpiece")
    tokenizer.mask_token = None
    with pytest.raises(EvaluationError, match="expected a tokenizer with a mask token"):
        build(masked_lm(), tokenizer, cities)


# ---- the words of an answer ----------------------------------------------------------------------------------------

ANSWERS = ["last spring", "vienna", "7 new york"]


@pytest.mark.parametrize("form", ["concat", "replace"])
def test_a_decoder_is_asked_for_the_answer_alone(tokenizer, cities, form):
    task, _, readings = build(decoder(), tokenizer, cities, labels=ANSWERS, form=form)
    assert task.name == "text-generation"
    with torch.no_grad():
        for way in ("plain", "linked", "text"):
            answers = task.answer(way, [1, 0, 2])
            for row, (text, label) in enumerate(zip(TEXTS, ANSWERS, strict=True)):
                before = tokenizer(text, add_special_tokens=False).input_ids
                whole = tokenizer(f"{text} {label}", add_special_tokens=False).input_ids
                scored = words(answers, row)
                # A blank that is a token of its own belongs to nobody.
                assert len(whole) - len(before) - len(scored) in (0, 1)
                assert scored == whole[-len(scored) :]
    # What a run counts is what the model reads.
    assert readings["plain"].features[0]["input_ids"] == tokenizer(f"{TEXTS[0]} {ANSWERS[0]}").input_ids


def test_an_entity_is_never_linked_in_the_answer(tokenizer, cities):
    _, rows, readings = build(decoder(), tokenizer, cities, labels=ANSWERS)
    assert [len(found) for found in rows.mentions] == [1, 2, 0]
    virtual = [sum(token >= len(tokenizer) for token in row["input_ids"]) for row in readings["linked"].features]
    assert virtual == [1, 2, 0]
    assert readings["text"].features[2]["input_ids"] == tokenizer(f"{TEXTS[2]} {ANSWERS[2]}").input_ids


def test_the_logits_of_an_answer_are_those_after_its_prompt_with_the_entities(tokenizer, cities):
    model = decoder()
    task, _, readings = build(model, tokenizer, cities, labels=ANSWERS)
    linked = readings["linked"].features[1]["input_ids"]
    with torch.no_grad():
        scored = words(task.answer("linked", [1]), 1)
        length = len(scored)
        (at,) = [i for i in range(len(linked)) if linked[i : i + length] == scored]
        logits = model(input_ids=torch.tensor([linked])).logits[0, at - 1 : at - 1 + length]
        torch.testing.assert_close(task.answer("linked", [1]).logits, logits, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(task.answer("plain", [1]).logits, logits, atol=1e-4)


def test_labels_of_a_decoder_that_are_no_texts_are_ignored(wordpiece, cities):
    task, _, _ = build(decoder(), wordpiece, cities, labels=[0, 1, 2])
    with torch.no_grad():
        assert words(task.answer("plain", [2]), 2) == wordpiece(TEXTS[2], add_special_tokens=False).input_ids


def test_a_long_prompt_is_cut_at_its_beginning_and_the_answer_is_not(tokenizer, cities):
    model = decoder()
    attachment = KnowledgePlugin.for_model(model, cities).attach(model.eval(), tokenizer)
    rows = write_answers(
        model, tokenizer, read_rows([{"text": "paris and " * 40 + "a train to", "label": "vienna"}], attachment.source)
    )
    readings = {"plain": read_plain(rows, tokenizer), "linked": read_linked(rows, attachment)}
    readings["text"], _ = read_described(rows, tokenizer, cities, "{description}")
    side = tokenizer.truncation_side
    with torch.no_grad():
        task = find_task(model, tokenizer, rows, readings)
        for way in readings:
            assert tokenizer.decode(words(task.answer(way, [0]), 0)).strip() == "vienna"
            ids = readings[way].features[0]["input_ids"]
            assert len(ids) <= 64
            kept = attachment.tokenizer.decode(ids, skip_special_tokens=True)
            assert kept.strip().endswith("a train to vienna")
    assert (tokenizer.truncation_side, attachment.tokenizer.truncation_side) == (side, side)


@pytest.mark.parametrize("max_length", [None, 6])
def test_an_answer_that_does_not_fit(tokenizer, cities, max_length):
    model = decoder()
    attachment = KnowledgePlugin.for_model(model, cities).attach(model.eval(), tokenizer)
    label = "the river is wide and the mayor of the old town " * (1 if max_length else 9)
    rows = write_answers(model, tokenizer, read_rows([{"text": "in paris", "label": label}], attachment.source))
    readings = {"plain": read_plain(rows, tokenizer, max_length), "linked": read_linked(rows, attachment, max_length)}
    with pytest.raises(EvaluationError, match=r"the label 'the river .* does not fit: .*model_max_length"):
        find_task(model, tokenizer, rows, readings)


def test_nothing_stands_before_an_answer(cities):
    tokenizer = tiny.tokenizer("wordpiece")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    model = decoder()
    attachment = KnowledgePlugin.for_model(model, cities).attach(model.eval(), tokenizer)
    rows = write_answers(model, tokenizer, read_rows([{"text": "", "label": "vienna"}], attachment.source))
    readings = {"plain": read_plain(rows, tokenizer), "linked": read_linked(rows, attachment)}
    with pytest.raises(EvaluationError, match="nothing stands before the label 'vienna'"):
        find_task(model, tokenizer, rows, readings)


@pytest.mark.parametrize("family", ["wordpiece", "byte_bpe"])
def test_a_masked_language_model_is_asked_for_what_the_mask_stands_for(family, cities):
    tokenizer, model = tiny.tokenizer(family), masked_lm()
    mask = tokenizer.mask_token
    attachment = KnowledgePlugin.for_model(model, cities).attach(model.eval(), tokenizer)
    dataset = [{"text": f"a train from {mask} to berlin", "label": "new york"}]
    rows = write_answers(model, tokenizer, read_rows(dataset, attachment.source))
    readings = {"plain": read_plain(rows, tokenizer), "linked": read_linked(rows, attachment)}
    readings["text"], _ = read_described(rows, tokenizer, cities, "{description}")
    whole = tokenizer("a train from new york to berlin").input_ids
    with torch.no_grad():
        task = find_task(model, tokenizer, rows, readings)
        asked = {way: task.answer(way, [0]) for way in readings}
        scored = words(asked["plain"], 0)
        assert tokenizer.decode(scored).strip() == "new york"
        assert all(words(answers, 0) == scored for answers in asked.values())
        (at,) = [i for i in range(len(whole)) if whole[i : i + len(scored)] == scored]
        masked = [*whole[:at], *[tokenizer.mask_token_id] * len(scored), *whole[at + len(scored) :]]
        logits = model(input_ids=torch.tensor([masked])).logits[0, at : at + len(scored)]
    torch.testing.assert_close(asked["plain"].logits, logits, rtol=1e-4, atol=1e-5)
    assert task.name == "fill-mask"
    linked = readings["linked"].features[0]["input_ids"]
    assert [attachment.source.entity_id(t) for t in linked if t in attachment.source.ids] == ["geo:berlin"]


# ---- words of a target ---------------------------------------------------------------------------------------------


def encoder_decoder():
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    return T5ForConditionalGeneration(T5Config(vocab_size=400, decoder_start_token_id=0, **sizes))


def test_an_encoder_decoder_writes_the_target(cities):
    tokenizer = tiny.tokenizer("unigram")
    model = encoder_decoder()
    targets = ["the wide river", "a house", "wide"]
    task, _, readings = build(model, tokenizer, cities, labels=targets)
    assert task.name == "text2text-generation"
    with torch.no_grad():
        for way in ("plain", "linked", "text"):
            answers = task.answer(way, [0, 1, 2])
            assert [words(answers, row) for row in range(3)] == tokenizer(targets).input_ids
        one = task.answer("plain", [1])
        ids = torch.tensor([readings["plain"].features[1]["input_ids"]])
        expected = model(input_ids=ids, labels=torch.tensor([tokenizer(targets[1]).input_ids])).loss
    torch.testing.assert_close(functional.cross_entropy(one.logits, one.labels), expected)


@pytest.mark.parametrize("labels", [None, [0, 1, 2], ["wide", "", "a"]])
def test_an_encoder_decoder_needs_targets(labels, cities):
    with pytest.raises(EvaluationError, match="expected a text as the label of each row"):
        build(encoder_decoder(), tiny.tokenizer("unigram"), cities, labels=labels)
