"""Training with a plugin attached: the plugin frozen and the model learning, or the other way round."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from knowledge_plugin import MapTuningTrainer
from tests.contract.architectures import VOCAB, build
from tests.contract.common import TEXTS, enlarge, inputs, make_plugin, way

ROWS = [("the mayor of Paris", 0), ("a train from Berlin to New York", 1), ("the river is wide", 0), ("York", 1)] * 3


def arguments(folder, **kwargs) -> TrainingArguments:
    options = {"report_to": [], "save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "seed": 3}
    return TrainingArguments(str(folder), **options | {"num_train_epochs": 1, "learning_rate": 1e-2} | kwargs)


def tokenized(tokenizer) -> list[dict]:
    return [{**tokenizer(text), "labels": label} for text, label in ROWS]


def checksum(module: torch.nn.Module) -> str:
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in module.state_dict().values())).hexdigest()


@way("training", "Trainer fine-tunes the model with a frozen plugin")
def test_fine_tuning_with_a_frozen_plugin(wordpiece, tmp_path):
    model = build("bert-classification")
    plugin = make_plugin(model)
    enlarged = enlarge(model, plugin)
    mapping, start = checksum(plugin.mapping), checksum(model)
    attachment = plugin.attach(model, wordpiece)
    losses = []
    for trained in (model, enlarged):
        rows = tokenized(attachment.tokenizer)
        trainer = Trainer(
            model=trained,
            args=arguments(tmp_path),
            train_dataset=rows,
            processing_class=attachment.tokenizer,
        )
        assert isinstance(trainer.data_collator, DataCollatorWithPadding)
        losses.append(trainer.train().training_loss)
        if trained is model:
            trainer.save_model(str(tmp_path / "saved"))
        if trained is model:
            without = Trainer(
                model=build("bert-classification"),
                args=arguments(tmp_path),
                train_dataset=tokenized(wordpiece),
                processing_class=wordpiece,
            )
            assert without.train().training_loss != pytest.approx(losses[0], rel=1e-3)
    # The enlarged model's rows of entities learn too, but hardly in a few steps.
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert checksum(plugin.mapping) == mapping
    assert checksum(model) != start
    attachment.detach()
    saved = type(model).from_pretrained(tmp_path / "saved")
    assert saved.state_dict().keys() == model.state_dict().keys()
    assert saved.config.vocab_size == VOCAB


@way("training", "map-tuning with MapTuningTrainer, the model frozen")
def test_map_tuning(wordpiece, tmp_path):
    model = build("bert-classification")
    plugin = make_plugin(model)
    before, mapping = checksum(model), checksum(plugin.mapping)
    MapTuningTrainer(
        model=model,
        plugin=plugin,
        processing_class=wordpiece,
        args=arguments(tmp_path),
        train_dataset=[{"text": text, "label": label} for text, label in ROWS],
    ).train()
    assert checksum(model) == before
    assert checksum(plugin.mapping) != mapping


@way("training", "gradient checkpointing, the model frozen")
@pytest.mark.parametrize("name", ["bert-classification", "llama", "t5"])
def test_gradient_checkpointing(name, wordpiece):
    gradients = []
    for checkpointing in (False, True):
        model = build(name).requires_grad_(False).train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        plugin = make_plugin(model)
        plugin.mapping.train().requires_grad_(True)
        with plugin.attach(model, wordpiece) as (model, tokenizer):
            model(**inputs(model, tokenizer, TEXTS), use_cache=False).logits.square().mean().backward()
        gradients.append([p.grad for p in plugin.mapping.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert all(g.any() for g in gradients[0])


@way("training", "autocast to bfloat16")
def test_autocast(wordpiece):
    model = build("bert-classification")
    plugin = make_plugin(model)
    enlarged = enlarge(model, plugin)
    with plugin.attach(model, wordpiece) as (model, tokenizer), torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        batch = inputs(model, tokenizer, TEXTS)
        assert torch.equal(model(**batch).logits, enlarged(**batch).logits)


@way("training", "a model in float16")
def test_half(wordpiece):
    model = build("bert-classification").half()
    plugin = make_plugin(model)
    enlarged = enlarge(model, plugin)
    with plugin.attach(model, wordpiece) as (model, tokenizer), torch.no_grad():
        batch = inputs(model, tokenizer, TEXTS)
        assert torch.equal(model(**batch).logits, enlarged(**batch).logits)


@way("training", "masked-language-model collator: an entity is neither masked nor predicted")
def test_masked_language_model_collator(wordpiece):
    model = build("bert-masked-lm")
    with make_plugin(model).attach(model, wordpiece) as (model, tokenizer):
        collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.9)
        torch.manual_seed(0)
        batch = collator([tokenizer(text) for text in TEXTS])
        entities = tokenizer(TEXTS, padding=True, return_tensors="pt")["input_ids"] >= VOCAB
        assert torch.equal(batch["input_ids"] >= VOCAB, entities)
        assert bool((batch["labels"][entities] == -100).all())
        assert model(**batch).loss.isfinite()


@way("training", "language-model collator: labels never hold an entity")
def test_causal_language_model_collator(wordpiece):
    model = build("llama")
    with make_plugin(model).attach(model, wordpiece) as (model, tokenizer):
        collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
        batch = collator([{"input_ids": tokenizer(text)["input_ids"]} for text in TEXTS])
        masked = batch["labels"].masked_fill(batch["labels"] >= VOCAB, -100)
        found = model(**batch).loss
        batch["labels"] = masked
        assert torch.equal(found, model(**batch).loss)


class _Rows(torch.utils.data.Dataset):
    def __init__(self, tokenizer) -> None:
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return len(TEXTS)

    def __getitem__(self, i: int) -> list[int]:
        return self.tokenizer(TEXTS[i])["input_ids"]


@way("training", "DataLoader workers")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_loader_workers(start, wordpiece):
    model = build("bert-classification")
    with make_plugin(model).attach(model, wordpiece) as (_, tokenizer):
        loader = DataLoader(_Rows(tokenizer), num_workers=2, batch_size=None, multiprocessing_context=start)
        assert [[int(i) for i in row] for row in loader] == [tokenizer(text)["input_ids"] for text in TEXTS]


@way("training", "datasets.map(num_proc=2), also within attachment.disabled()")
def test_datasets_map(wordpiece, tmp_path):
    datasets = pytest.importorskip("datasets")
    model = build("bert-classification")
    wordpiece.padding_side = "right"
    attachment = make_plugin(model).attach(model, wordpiece)
    tokenizer = attachment.tokenizer
    tokenizer.padding_side = "left"  # set since, and to be the same in the workers
    dataset = datasets.Dataset.from_dict({"text": TEXTS * 2})

    def run(processes):
        return dataset.map(
            lambda batch: tokenizer(batch["text"], padding="max_length", max_length=24),
            batched=True,
            num_proc=processes,
        )["input_ids"]

    expected = [tokenizer(text, padding="max_length", max_length=24)["input_ids"] for text in TEXTS * 2]
    assert run(2) == run(None) == expected
    with attachment.disabled():
        plain = run(2)
        assert plain == run(None)
    assert not any(i >= VOCAB for ids in plain for i in ids)


@way(
    "training",
    "label_smoothing_factor of Trainer on a language model",
    limit="it takes the labels before the model can leave entities out: set labels beyond the vocabulary to -100",
)
def test_label_smoothing(wordpiece, tmp_path):
    model = build("llama")
    with make_plugin(model).attach(model, wordpiece) as (model, tokenizer):
        collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)

        def without_entities(rows: list) -> dict:
            batch = collator(rows)
            batch["labels"][batch["labels"] >= VOCAB] = -100
            return batch

        rows = [{"input_ids": tokenizer(text)["input_ids"]} for text in TEXTS]
        for collate in (collator, without_entities):
            trainer = Trainer(
                model=model,
                args=arguments(tmp_path, label_smoothing_factor=0.1),
                train_dataset=rows,
                data_collator=collate,
                processing_class=tokenizer,
            )
            with pytest.raises((RuntimeError, IndexError)) if collate is collator else nullcontext():
                trainer.train()


def test_labels_that_are_no_words_are_not_counted(wordpiece):
    model = build("llama")
    attachment = make_plugin(model).attach(model, wordpiece)
    batch = inputs(model, attachment.tokenizer, TEXTS)
    labels = batch["input_ids"].clone()
    counted = int((labels[:, 1:] != -100).sum())
    with torch.no_grad():
        mean = model(**batch, labels=labels).loss
        as_trainer_asks = model(**batch, labels=labels, num_items_in_batch=torch.tensor(counted)).loss
    torch.testing.assert_close(as_trainer_asks, mean)
