from __future__ import annotations

import pytest
import torch
from transformers import TrainingArguments

from knowledge_plugin import KnowledgePlugin, MapTuningTrainer
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.hook import find_hooks
from knowledge_plugin.objectives.distilling import DistillingCollator, distilling, nothing_to_distil
from tests import tiny
from tests.contract.architectures import build

ROWS = [{"text": "the mayor of New York came from", "label": "the river"}, {"text": "she saw", "label": "berlin"}]


@pytest.fixture
def collator(wordpiece):
    model = build("llama")
    attachment = KnowledgePlugin.for_model(model, tiny.knowledge_base(), method="passage").attach(model, wordpiece)
    collator = DistillingCollator()
    collator.use(attachment)
    return collator


def test_the_teacher_reads_the_description_and_no_entity(collator, wordpiece):
    batch, ids = collator(ROWS), collator.attachment.source.ids
    assert ids.mask(batch["input_ids"]).any(1).tolist() == [True, False]
    assert not bool(ids.mask(batch["teacher_input_ids"]).any())
    assert batch["teacher_told"].tolist() == [True, False]
    said = wordpiece.decode(batch["teacher_input_ids"][0], skip_special_tokens=True)
    assert said.startswith("a city. the mayor of new york")
    for name in ("labels", "teacher_labels"):
        assert [wordpiece.decode(row[row != -100]) for row in batch[name]] == ["the river", "berlin"]


def test_the_divergence_is_that_of_the_answers(collator):
    batch, model = collator(ROWS), collator.attachment.model
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(100)  # what is about even has no divergence to speak of
    for name in ("token_type_ids", "teacher_token_type_ids"):
        batch.pop(name, None)
    teacher = {name.removeprefix("teacher_"): t for name, t in batch.items() if name.startswith("teacher_")}
    model.train()
    with distilling(model, find_hooks(model)[0], batch) as added:
        assert not any(name.startswith("teacher_") for name in batch)
        outputs = model(**batch)
        found = added(outputs)
    assert model.training
    found.backward()
    with torch.no_grad():
        wanted = model(input_ids=teacher["input_ids"], attention_mask=teacher["attention_mask"]).logits
        parts = []
        for i in range(2):
            at, to = batch["labels"][i, 1:] != -100, teacher["labels"][i, 1:] != -100
            p, q = wanted[i, :-1][to].softmax(-1), outputs.logits[i, :-1][at].softmax(-1)
            parts.append((p * (p / q).log()).sum(-1))
    assert float(found.detach()) == pytest.approx(2 * float(torch.cat(parts).mean()), rel=1e-3)


@pytest.mark.parametrize(("label", "message"), [({"label": 1}, "expected a text, since"), ({}, "distil")])
def test_labels_that_are_no_texts_are_refused(collator, label, message):
    with pytest.raises(TrainingError, match=message):
        collator([{"text": "a"} | label])


@pytest.mark.parametrize(("name", "lacks"), [("llama", False), ("bert-masked-lm", True), ("t5", True)])
def test_only_a_decoder_is_its_own_teacher(name, lacks, wordpiece):
    assert (nothing_to_distil(build(name), wordpiece, "concat") is not None) is lacks


def test_what_the_teacher_is_not_told_of_teaches_nothing(wordpiece, tmp_path):
    model = build("llama")
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base(), method="passage")
    rows = [{"text": "the mayor of Berlin came from", "label": "the river"}]  # Berlin has no description
    arguments = TrainingArguments(str(tmp_path), max_steps=1, report_to="none", disable_tqdm=True, save_strategy="no")

    def trainer(rows):
        return MapTuningTrainer(
            model, arguments, plugin=plugin, objective="distil", processing_class=wordpiece, train_dataset=rows
        )

    with pytest.raises(TrainingError, match="'distil' may want more than names, such as descriptions"):
        trainer(rows).train()
    trainer(rows + ROWS).train()
    assert plugin.config.training.rows_with_mention == pytest.approx(1 / 3)
