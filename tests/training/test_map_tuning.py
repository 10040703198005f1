from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    LlamaConfig,
    LlamaForCausalLM,
    TrainingArguments,
)

from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer, Mention
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.results import EvaluationResult, Score
from tests import tiny
from tests.contract.architectures import DECODER

WORDS = ["paris", "museum", "mayor", "train", "river", "vienna"]
NAMES = [f"{a} {b}" for a in WORDS for b in WORDS if a != b][:24]
N = len(NAMES)
SENTENCE = f"the town of {NAMES[3]} opened"


@pytest.fixture
def model():
    """A classifier whose head answers loudly enough that its loss can fall."""
    model = tiny.classifier(labels=2)
    with torch.no_grad():
        for parameter in [model.bert.pooler.dense.weight, model.classifier.weight]:
            parameter.mul_(60)
        for layer in model.bert.encoder.layer:
            layer.attention.self.value.weight.mul_(30)
            layer.attention.output.dense.weight.mul_(30)
    return model


@pytest.fixture
def kb():
    vectors = torch.randn(N, 8, generator=torch.Generator().manual_seed(0))
    return KnowledgeBase.from_entities([Entity(f"x:{i}", name) for i, name in enumerate(NAMES)], vectors, name="toy")


@pytest.fixture
def plugin(model, kb):
    torch.manual_seed(0)
    return KnowledgePlugin.for_model(model, kb, mapping="mlp")


@pytest.fixture
def rows(kb):
    """Sentences that say nothing; the label is the sign of the entity's first number."""
    labels = (kb.vectors(kb.rows([f"x:{i}" for i in range(N)]))[:, 0] > 0).long().tolist()
    return [{"text": f"the town of {name} opened", "label": label} for name, label in zip(NAMES, labels, strict=True)]


class Stream(IterableDataset):
    """Gives each row but once, however often it is asked."""

    def __init__(self, rows):
        self.rows = iter(rows)

    def __iter__(self):
        yield from self.rows


class SizedStream(Stream):
    def __len__(self):
        return N


@pytest.fixture
def trainer(model, plugin, rows, wordpiece, tmp_path):
    """Makes trainers of the same model and plugin."""

    def make(folder="run", train_dataset=rows, processing_class=wordpiece, plugin=plugin, model=model, **options):
        names = (
            "base_dropout",
            "objective",
            "linker",
            "form",
            "data_collator",
            "eval_dataset",
            "compute_metrics",
            "callbacks",
        )
        own = {name: options.pop(name) for name in names if name in options}
        arguments = {
            "learning_rate": 1e-2,
            "per_device_train_batch_size": 8,
            "max_steps": 6,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            "seed": 1,
            "dataloader_pin_memory": False,
        }
        args = TrainingArguments(str(tmp_path / folder), **arguments | options)
        own.setdefault("form", "replace")  # not even the name is left in the text
        return MapTuningTrainer(
            model=model, plugin=plugin, args=args, train_dataset=train_dataset, processing_class=processing_class, **own
        )

    return make


def fingerprint(module):
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def weights(plugin):
    return torch.cat([parameter.detach().flatten() for parameter in plugin.mapping.parameters()]).clone()


# ---- it learns, and nothing else does ------------------------------------------------------------------------------


def test_it_learns_what_only_the_vectors_say(trainer, rows):
    run = trainer(max_steps=60, eval_dataset=rows, base_dropout=0.0)
    before = run.evaluate()["eval_loss"]
    run.train()
    assert run.evaluate()["eval_loss"] < before / 2


def test_a_decoder_learns_to_answer(trainer, rows, kb):
    torch.manual_seed(0)
    decoder = LlamaForCausalLM(LlamaConfig(**DECODER, initializer_range=0.4)).eval()
    plugin = KnowledgePlugin.for_model(decoder, kb, mapping="mlp")
    before, untrained = fingerprint(decoder), weights(plugin)
    answered = [{"text": f"{row['text']} in", "label": ["the harbour", "prague"][row["label"]]} for row in rows]
    options = {"model": decoder, "plugin": plugin, "train_dataset": answered, "eval_dataset": answered}
    run = trainer(max_steps=100, base_dropout=0.0, **options)
    loss = run.evaluate()["eval_loss"]
    run.train()
    assert run.evaluate()["eval_loss"] < 0.8 * loss
    assert fingerprint(decoder) == before
    assert not torch.equal(weights(plugin), untrained)


def test_results_of_another_mapping_are_dropped(trainer, plugin):
    plugin.results = [EvaluationResult("text-classification", "cities", "accuracy", Score(0.9))]
    trainer(max_steps=1).train()
    assert plugin.results == []


def test_the_model_is_the_same_to_the_bit(trainer, model, plugin):
    before, keys, untrained = fingerprint(model), list(model.state_dict()), weights(plugin)
    model.classifier.bias.requires_grad_(False)
    flags = [parameter.requires_grad for parameter in model.parameters()]
    config = model.config.to_dict()
    trainer().train()
    assert not torch.equal(weights(plugin), untrained)
    assert fingerprint(model) == before
    assert list(model.state_dict()) == keys
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert model.config.to_dict() == config


def test_the_trained_plugin_leaves_the_model_the_same_when_detached(trainer, model, plugin, wordpiece):
    batch = wordpiece(SENTENCE, return_tensors="pt")
    before, logits = fingerprint(model), model(**batch).logits
    trainer().train()
    with plugin.attach(model, wordpiece) as (_, tokenizer):
        assert not torch.equal(model(**tokenizer(SENTENCE, return_tensors="pt")).logits, logits)
    assert fingerprint(model) == before
    assert torch.equal(model(**batch).logits, logits)


def test_the_mapping_is_at_rest_afterwards(trainer, plugin):
    trainer().train()
    assert not plugin.mapping.training
    assert not any(parameter.requires_grad for parameter in plugin.mapping.parameters())


def test_only_the_mapping_is_optimised(trainer, plugin):
    run = trainer()
    run.train()
    optimised = {p.data_ptr() for group in run.optimizer.param_groups for p in group["params"]}
    assert optimised == {p.data_ptr() for p in plugin.mapping.parameters()}


def test_dropout_is_at_work_and_restored(trainer, model):
    seen = []

    def look(module, args):
        seen.append((module.training, module.p))

    dropout = model.bert.embeddings.dropout
    before = dropout.p
    handle = dropout.register_forward_pre_hook(look)
    trainer(base_dropout=0.25).train()
    handle.remove()
    assert set(seen) == {(True, 0.25)}
    assert dropout.p == before != 0.25


def test_an_error_in_the_middle_restores_everything(trainer, model, plugin):
    before, flags = fingerprint(model), [parameter.requires_grad for parameter in model.parameters()]

    def fail(*args):
        raise KeyboardInterrupt

    handle = model.classifier.register_forward_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        trainer(base_dropout=0.5).train()
    handle.remove()
    assert fingerprint(model) == before
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert model.bert.embeddings.dropout.p == 0.1
    plugin.attach(model, tiny.tokenizer("wordpiece")).detach()


def test_training_twice_goes_on(trainer, plugin):
    trainer("first").train()
    before = weights(plugin)
    trainer("second").train()
    assert not torch.equal(weights(plugin), before)


# ---- the data ------------------------------------------------------------------------------------------------------


def test_tokenized_rows_train_as_raw_rows_do(trainer, rows, model, kb, wordpiece):
    results = []
    for tokenized in (False, True):
        torch.manual_seed(0)
        plugin = KnowledgePlugin.for_model(model, kb)
        with plugin.attach(model, wordpiece, form="replace") as (_, tokenizer):
            data = [{**tokenizer(row["text"]), "label": row["label"]} for row in rows] if tokenized else rows
            trainer(plugin=plugin, train_dataset=data, processing_class=tokenizer).train()
        results.append(weights(plugin))
    assert torch.equal(*results)


def test_an_attached_plugin_stays_attached(trainer, model, plugin, wordpiece):
    with plugin.attach(model, wordpiece, form="replace") as attachment:
        run = trainer(processing_class=attachment.tokenizer)
        run.train()
        assert attachment.tokenizer(SENTENCE).input_ids != wordpiece(SENTENCE).input_ids
        attachment.detach()


def test_attached_or_not_trains_alike(trainer, model, kb, wordpiece):
    results = []
    for attached, own_tokenizer in ((False, True), (True, False), (True, True)):
        torch.manual_seed(0)
        plugin = KnowledgePlugin.for_model(model, kb)
        attachment = plugin.attach(model, wordpiece, form="replace") if attached else None
        trainer(plugin=plugin, processing_class=wordpiece if own_tokenizer else attachment.tokenizer).train()
        if attached:
            attachment.detach()
        results.append(weights(plugin))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_a_batch_without_a_mention_is_no_trouble(trainer, rows, plugin):
    mixed = [row if i % 6 == 0 else {"text": "nothing to see", "label": 0} for i, row in enumerate(rows)]
    before = weights(plugin)
    trainer(train_dataset=mixed, per_device_train_batch_size=1, max_steps=12).train()
    assert not torch.equal(weights(plugin), before)
    assert torch.isfinite(weights(plugin)).all()


@pytest.mark.parametrize(
    ("train_dataset", "message"),
    [
        ([], "the dataset is empty: expected rows such as"),
        ({"train": [{"text": "paris museum", "label": 0}]}, r"found several: type dataset\['train'\]"),
        ([("paris museum", 1)], r"row 1: expected a row such as .* found \('paris museum', 1\)"),
        (["paris museum"], "row 1: expected a row such as"),
        ([{"text": "paris museum", "lable": 1}], r"no 'label', .* found the columns \['lable', 'text'\]"),
        ([{"text": "paris museum", "label": 1}, {"text": "museum"}], "1 of 2 rows have 'label': .* row 2 has none"),
        ([{"text": "paris museum", "label": 1}] * 600 + [{"text": "a", "label": None}], "row 601 has the label None"),
        ([{"text": "paris museum", "label": 1}] * 600 + [{"text": None, "label": 0}], "row 601: text: expected a text"),
        ([{"text": "paris museum", "label": 1}, {"text": "a", "label": math.nan}], "row 2 has the label nan"),
        ([{"text": "paris museum", "label": 1}, {"text": "a", "label": 9}], "row 2 has the label 9, but"),
    ],
)
def test_rows_that_cannot_be_learned_from_are_named_before_a_step_is_made(trainer, train_dataset, message):
    made = trainer(train_dataset=train_dataset)
    with pytest.raises(TrainingError, match=message):
        made.train()
    assert made.state.global_step == 0


def test_a_stream_without_labels(trainer, rows):
    without = Stream([{"text": row["text"]} for row in rows])
    with pytest.raises(TrainingError, match="the rows have no 'label', and the loss of BertForSequenceClassification"):
        trainer(train_dataset=without).train()


def test_a_decoder_without_labels(kb, wordpiece, tmp_path):
    model = LlamaForCausalLM(LlamaConfig(**DECODER))
    args = TrainingArguments(str(tmp_path), max_steps=1, report_to="none", use_cpu=True)
    rows = [{"text": f"the town of {NAMES[0]} opened"}]
    made = MapTuningTrainer(
        model, args, plugin=KnowledgePlugin.for_model(model, kb), processing_class=wordpiece, train_dataset=rows
    )
    with pytest.raises(TrainingError, match=r'such as {"text": "Ada lives in", "label": "Graz"}'):
        made.train()


@pytest.mark.parametrize("of", [float, bool, lambda label: torch.tensor(label)])
def test_classes_that_are_floats_or_booleans(trainer, rows, plugin, of):
    start = {name: tensor.clone() for name, tensor in plugin.mapping.state_dict().items()}
    trainer().train()
    expected = weights(plugin)
    plugin.mapping.load_state_dict(start)
    trainer(train_dataset=[row | {"label": of(row["label"])} for row in rows]).train()
    assert torch.equal(weights(plugin), expected)


def test_data_without_a_mention_is_refused_before_the_first_step(trainer, plugin, model):
    before = weights(plugin)
    run = trainer(train_dataset=[{"text": "nothing to see", "label": 0}] * 20)
    with pytest.raises(TrainingError, match="the first 20 rows of the training data mention no entity"):
        run.train()
    assert torch.equal(weights(plugin), before)
    assert run.state.global_step == 0
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_rows_of_a_plain_tokenizer_are_refused(trainer, rows, wordpiece):
    plain = [{**wordpiece(row["text"]), "label": row["label"]} for row in rows]
    with pytest.raises(TrainingError, match="tokenized must come from the attachment's tokenizer"):
        trainer(train_dataset=plain).train()


def test_rows_of_other_columns_are_refused(trainer):
    with pytest.raises(TrainingError, match="expected 'text'"):
        trainer(train_dataset=[{"sentence": SENTENCE, "label": 0}]).train()


def test_a_name_that_the_tokenizer_does_not_know_is_trained_on(trainer, model, wordpiece):
    kb = KnowledgeBase.from_entities([Entity("x:tokyo", "東京")], torch.ones(1, 8), name="toy")
    plugin = KnowledgePlugin.for_model(model, kb)
    assert wordpiece.unk_token_id in wordpiece("in 東京").input_ids
    before = weights(plugin)
    trainer(plugin=plugin, train_dataset=[{"text": "in 東京", "label": 0}] * 8).train()
    assert not torch.equal(weights(plugin), before)


def test_given_mentions_train_without_a_linker(trainer, rows, plugin):
    before = weights(plugin)
    data = [{"text": "the museum opened", "mentions": [Mention(4, 10, "x:3")], "label": 1}] * 8
    trainer(train_dataset=data).train()
    assert not torch.equal(weights(plugin), before)


def test_a_linker_of_ones_own(trainer, kb):
    seen = []
    real = DictionaryLinker(kb)

    def linker(texts):
        seen.extend(texts)
        return real(texts)

    trainer(linker=linker).train()
    assert SENTENCE in seen


# ---- what is saved -------------------------------------------------------------------------------------------------


def files(folder):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


def test_save_model_writes_the_plugin_and_not_the_base(trainer, plugin, model, kb, tmp_path):
    run = trainer()
    run.train()
    run.save_model()
    run.save_model(tmp_path / "elsewhere")
    for folder in (tmp_path / "run", tmp_path / "elsewhere"):
        assert "mapping.safetensors" in files(folder)
        assert not {
            "model.safetensors",
            "pytorch_model.bin",
            "adapter_config.json",
            "adapter_model.safetensors",
        } & files(folder)
        opened = KnowledgePlugin.from_pretrained(folder)
        assert torch.equal(weights(opened), weights(plugin))


def test_a_checkpoint_is_a_plugin(trainer, plugin, tmp_path):
    trainer(save_strategy="steps", save_steps=3).train()
    for step in (3, 6):
        folder = tmp_path / "run" / f"checkpoint-{step}"
        assert {"mapping.safetensors", "optimizer.pt", "trainer_state.json"} <= files(folder)
        assert "model.safetensors" not in files(folder)
        KnowledgePlugin.from_pretrained(folder).knowledge_base.verify()
    last = KnowledgePlugin.from_pretrained(tmp_path / "run" / "checkpoint-6")
    assert torch.equal(weights(last), weights(plugin))


@pytest.mark.parametrize("base_dropout", [None, 0.3])
def test_a_resumed_run_ends_where_an_uninterrupted_one_ends(trainer, model, kb, tmp_path, base_dropout):
    def plugin():
        torch.manual_seed(0)
        return KnowledgePlugin.for_model(model, kb)

    whole = plugin()
    trainer("whole", plugin=whole, save_strategy="steps", save_steps=4, max_steps=8, base_dropout=base_dropout).train()
    resumed = plugin()
    run = trainer(
        "resumed", plugin=resumed, save_strategy="steps", save_steps=4, max_steps=8, base_dropout=base_dropout
    )
    run.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    assert run.state.global_step == 8
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)


@pytest.fixture
def worse_and_worse(trainer, rows):
    """Makes trainers whose first evaluation is the best one."""

    def make(every, **options):
        losses = iter([0.1, 0.5, 0.9, 1.0, 1.1, 1.2])
        return trainer(
            eval_dataset=rows,
            max_steps=6,
            eval_strategy="steps",
            eval_steps=every,
            save_strategy="steps",
            save_steps=every,
            load_best_model_at_end=True,
            metric_for_best_model="eval_made_up",
            greater_is_better=False,
            compute_metrics=lambda prediction: {"made_up": next(losses)},
            **options,
        )

    return make


def test_the_best_checkpoint_is_loaded_at_the_end(worse_and_worse, plugin, tmp_path):
    run = worse_and_worse(every=2)
    run.train()
    assert run.state.best_model_checkpoint.endswith("checkpoint-2")
    assert torch.equal(weights(plugin), weights(KnowledgePlugin.from_pretrained(tmp_path / "run" / "checkpoint-2")))
    assert not torch.equal(weights(plugin), weights(KnowledgePlugin.from_pretrained(tmp_path / "run" / "checkpoint-6")))


def test_early_stopping(worse_and_worse):
    run = worse_and_worse(every=1, callbacks=[EarlyStoppingCallback(2)])
    run.train()
    assert run.state.global_step == 3


# ---- evaluating ----------------------------------------------------------------------------------------------------


def test_evaluate_and_predict_attach_for_themselves(trainer, rows, model, wordpiece, plugin):
    run = trainer(eval_dataset=rows)
    prediction = run.predict(rows)
    with plugin.attach(model, wordpiece, form="replace") as (_, tokenizer), torch.no_grad():
        expected = model(**tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")).logits
    torch.testing.assert_close(torch.tensor(prediction.predictions), expected, rtol=1e-4, atol=1e-5)
    assert run.evaluate()["eval_loss"] == pytest.approx(
        nn.functional.cross_entropy(expected, torch.tensor([row["label"] for row in rows])).item(), rel=1e-3
    )
    assert len(wordpiece) < 400
    plugin.attach(model, wordpiece).detach()


# ---- wrong use -----------------------------------------------------------------------------------------------------


def test_an_unknown_objective(trainer):
    with pytest.raises(TrainingError, match=r"expected one of 'task', .* found 'magic'"):
        trainer(objective="magic")


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 7])
def test_a_dropout_that_is_no_probability(trainer, dropout):
    with pytest.raises(TrainingError, match="base_dropout"):
        trainer(base_dropout=dropout)


def test_a_tokenizer_is_needed(trainer):
    with pytest.raises(TrainingError, match="processing_class=tokenizer"):
        trainer(processing_class=None)


@pytest.mark.parametrize("label", [2, -1, 99])
def test_a_label_that_the_head_has_not(trainer, rows, plugin, label):
    before = weights(plugin)
    run = trainer(train_dataset=[*rows[:5], rows[5] | {"label": label}, *rows[6:]])
    with pytest.raises(TrainingError, match=f"label {label}, but the model's head has 2 classes"):
        run.train()
    assert torch.equal(weights(plugin), before)


def test_rows_that_are_not_scored_may_say_so(trainer, rows):
    run = trainer(train_dataset=[*rows[:5], rows[5] | {"label": -100}, *rows[6:]])
    run.train()
    assert run.state.global_step == 6


def test_without_training_data(trainer):
    with pytest.raises((TrainingError, ValueError), match="train"):
        trainer(train_dataset=None).train()


def test_the_plugin_keeps_the_form_that_it_was_trained_in(trainer, model, plugin, wordpiece):
    assert plugin.config.injection.form == "concat"
    with plugin.attach(model, wordpiece, form="replace") as attachment:
        trainer(form=None, processing_class=attachment.tokenizer).train()
    assert plugin.config.injection.form == "replace"


@pytest.mark.parametrize("given", [{"form": "concat"}, {"form": None, "linker": lambda texts: [[] for _ in texts]}])
def test_what_an_attached_plugin_would_not_heed_is_an_error(given, trainer, model, plugin, wordpiece):
    with plugin.attach(model, wordpiece, form="replace") as attachment, pytest.raises(TrainingError, match="attached"):
        trainer(processing_class=attachment.tokenizer, **given).train()


def test_columns_that_nobody_reads_are_no_trouble(trainer, rows, model, plugin, wordpiece):
    with plugin.attach(model, wordpiece, form="replace") as attachment:
        tokenized = [{**attachment.tokenizer(row["text"]), "label": row["label"], "title": "a text"} for row in rows]
        trainer(train_dataset=tokenized, processing_class=attachment.tokenizer, max_steps=1).train()


def test_a_dataset_with_mentions_of_its_own(trainer, rows, plugin):
    datasets = pytest.importorskip("datasets")
    data = [row | {"mentions": [m._asdict() for m in plugin.default_linker()([row["text"]])[0]]} for row in rows]
    before = weights(plugin)
    trainer(train_dataset=datasets.Dataset.from_list(data), max_steps=2).train()
    assert not torch.equal(before, weights(plugin))


@pytest.mark.parametrize("column", ["title", "text"])
def test_a_collator_of_ones_own_gets_the_columns_that_trainer_would_give_it(
    column, trainer, rows, model, plugin, wordpiece
):
    with plugin.attach(model, wordpiece, form="replace") as attachment:
        tokenized = [{**attachment.tokenizer(row["text"]), "label": row["label"], column: "a text"} for row in rows]
        collator = DataCollatorWithPadding(attachment.tokenizer)
        run = trainer(
            train_dataset=tokenized, processing_class=attachment.tokenizer, data_collator=collator, max_steps=1
        )
        run.train()
    assert run.state.global_step == 1


def test_with_unused_columns_kept_a_collator_of_ones_own_gets_them_all(trainer, rows, model, plugin, wordpiece):
    def collate(rows):
        batch = attachment.tokenizer([row["town"] for row in rows], padding=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor([row["label"] for row in rows])}

    with plugin.attach(model, wordpiece, form="replace") as attachment:
        named = [{"town": row["text"], "label": row["label"]} for row in rows]
        run = trainer(train_dataset=named, data_collator=collate, remove_unused_columns=False, max_steps=1)
        run.train()
    assert run.state.global_step == 1


# ---- streams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Stream, SizedStream])
def test_every_row_of_a_stream_is_trained_on(kind, trainer, rows, plugin):
    seen, linker = [], plugin.default_linker()

    def look(texts):
        seen.extend(texts)
        return linker(texts)

    before = weights(plugin)
    trainer(train_dataset=kind(rows), linker=look, max_steps=N // 8).train()
    assert sorted(seen) == sorted(row["text"] for row in rows)
    assert not torch.equal(weights(plugin), before)


def test_a_stream_of_datasets(trainer, rows, plugin):
    datasets = pytest.importorskip("datasets")
    before = weights(plugin)
    trainer(train_dataset=datasets.Dataset.from_list(rows).to_iterable_dataset(), max_steps=2).train()
    assert not torch.equal(weights(plugin), before)


def test_a_stream_whose_first_mention_comes_late(trainer, rows, plugin):
    before = weights(plugin)
    trainer(train_dataset=Stream([{"text": "nothing to see", "label": 0}] * 16 + rows), max_steps=4).train()
    assert not torch.equal(weights(plugin), before)


@pytest.mark.parametrize(("steps", "rows_said"), [(80, 512), (3, 24)])
def test_a_stream_without_a_mention_is_refused_when_enough_of_it_was_seen(trainer, plugin, steps, rows_said):
    before = weights(plugin)
    run = trainer(train_dataset=Stream([{"text": "nothing to see", "label": 0}] * 1000), max_steps=steps)
    with pytest.raises(TrainingError, match=f"the first {rows_said} rows of the training data mention no entity"):
        run.train()
    assert torch.equal(weights(plugin), before)


# ---- what was learned by heart -------------------------------------------------------------------------------------


def test_rows_that_the_model_knows_by_heart_are_noticed(trainer, model, rows):
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([20.0, 0.0]))
    known = [row | {"label": 0} for row in rows]
    with pytest.warns(UserWarning, match=r"knows these rows by heart.*base_dropout=0\.25"):
        trainer(train_dataset=known, max_steps=8).train()


def test_rows_that_it_does_not_know_are_fine(trainer, recwarn):
    trainer(max_steps=10, gradient_accumulation_steps=2, per_device_train_batch_size=2).train()
    assert not [warning for warning in recwarn if "by heart" in str(warning.message)]


def test_an_auxiliary_loss_without_a_name(model, plugin, rows, wordpiece):
    with pytest.raises(TrainingError, match=r"found a Linear\. Type: auxiliary=\{'relations': RelationDecoding"):
        MapTuningTrainer(
            model, plugin=plugin, processing_class=wordpiece, train_dataset=rows, auxiliary=nn.Linear(1, 1)
        )
