from __future__ import annotations

import copy
import hashlib
import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel

from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase, KnowledgePlugin, Mention, evaluate
from knowledge_plugin.errors import KnowledgeBaseError, KnowledgePluginError, MissingDependencyError
from knowledge_plugin.evaluation import EvaluationError, shuffled
from knowledge_plugin.injection.attachment import attachments
from knowledge_plugin.injection.hook import find_hooks
from knowledge_plugin.training.frozen import frozen
from tests import tiny
from tests.contract.architectures import build
from tests.evaluation import bag

EVERY_CONTROL = ("none", "untrained", "shuffled", "random", "zero", "text")
LABELS = np.array([bag.label_of(i) for i in range(bag.N)])


@pytest.fixture
def run(knowing, classifier, wordpiece):
    """Evaluates the plugin that knows every answer, or whatever else it is given."""

    def run(plugin=knowing, model=classifier, tokenizer=wordpiece, dataset=None, *args, **options):
        options = {"resamples": 200, "progress": False, "probe": False} | options
        return evaluate(plugin, model, tokenizer, bag.rows() if dataset is None else dataset, *args, **options)

    return run


def fingerprint(model):
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def without_times(report):
    return {k: v for k, v in report.to_dict().items() if k not in ("seconds", "tokens_per_second")}


# ---- figures that can be worked out by hand ------------------------------------------------------------------------


def test_a_task_that_only_the_vectors_solve(run, towns):
    report = run(controls=EVERY_CONTROL)
    wrong_vectors = shuffled(towns, 0).vectors(towns.rows([f"x:{i}" for i in range(bag.N)]))[:, 0].numpy()
    assert report["plugin"].value == 1.0
    assert report["none"].value == report["zero"].value == 0.5  # class 0 for all
    assert report["shuffled"].value == pytest.approx(np.mean((wrong_vectors > 0) == LABELS))
    assert report["text"].value == 1.0  # the descriptions say it
    assert report["random"].value < 0.8
    assert report.verdict.startswith("A gain is shown: plugin minus shuffled is")
    gain = report.gain("shuffled")
    assert gain.difference == pytest.approx(1 - report["shuffled"].value)
    assert 0 < gain.low < gain.high
    assert gain.p_value < 0.05


def test_a_task_to_which_the_plugin_brings_nothing(run, classifier, towns):
    report = run(plugin=bag.plugin_for(classifier, towns, strength=0.0))
    assert report["plugin"].value == report["shuffled"].value == 0.5
    assert str(report).startswith("No gain is shown: plugin minus shuffled is +0.0 points")


def test_vectors_that_mislead(run, classifier, towns):
    report = run(plugin=bag.plugin_for(classifier, towns, strength=-2.0))
    assert report["plugin"].value == 0.0
    assert str(report).startswith("The plugin does harm")


def test_the_counts(run):
    rows = [*bag.rows(), {"text": "nothing to see", "label": 0}]
    report = run(dataset=rows, seen=["x:0", "x:1", "x:2", "geo:elsewhere"])
    assert (report.rows, report.rows_with_mentions, report.mentions_linked) == (61, 60, 60)
    assert (report.entities, report.entities_seen, report.entities_unseen, report.clusters) == (30, 3, 27, 31)
    assert {(r.part, r.rows) for r in report.results} == {("all", 61), ("seen", 6), ("unseen", 54)}


def test_entities_seen_in_training_have_figures_of_their_own(run, knowing, towns):
    known = [f"x:{i}" for i in range(10)]
    vectors = towns.vectors(range(bag.N)).clone()
    rows = towns.rows([f"x:{i}" for i in range(10, bag.N)])
    vectors[rows, 0] *= -1  # what it says of entities that it was not trained on is wrong
    knowing.knowledge_base = towns.with_vectors(vectors)
    report = run(plugin=knowing, seen=known)
    values = {(r.condition, r.part): r.value for r in report.results}
    assert values["plugin", "seen"] == 1.0
    assert values["plugin", "unseen"] == 0.0
    assert values["plugin", "all"] == pytest.approx(1 / 3)
    assert report.verdict.startswith("The plugin does harm: on entities never seen")


def test_intervals_are_over_entities_and_not_over_sentences(run):
    """Three times the sentences about the same entities say nothing new."""
    once, thrice = run(dataset=bag.rows(1)), run(dataset=bag.rows(1) * 3)
    assert [(r.value, r.low, r.high) for r in once.results] == [(r.value, r.low, r.high) for r in thrice.results]


def test_the_order_of_the_rows_and_the_size_of_batches_change_nothing(run):
    reference = without_times(run(batch_size=64))
    assert without_times(run(batch_size=7)) == reference
    backwards = run(dataset=bag.rows()[::-1])
    assert {r.condition: r.value for r in backwards.results} == reference["values"]


def test_a_seed_gives_the_same_again_and_another_other_controls(run):
    assert without_times(run(seed=1)) == without_times(run(seed=1))
    values = {run(seed=seed)["shuffled"].value for seed in range(4)}
    assert len(values) > 1


def test_the_generators_of_others_are_left_alone(run):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    run(controls=EVERY_CONTROL, probe=True)
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002


# ---- the same checkpoint, the same rows, the same batches ----------------------------------------------------------


def test_every_condition_runs_the_same_rows_in_the_same_batches(run, classifier):
    seen = []
    handle = classifier.words.register_forward_pre_hook(lambda m, a: seen.append(a[0].clone()))
    report = run(dataset=bag.rows(3), batch_size=32, controls=("none", "shuffled", "random", "zero", "untrained"))
    handle.remove()
    assert not classifier.dropout.training
    sizes = [len(ids) for ids in seen[1:]]  # the first looks which head there is
    assert sizes == [32, 32, 26] * 6
    assert report.rows == 90


def test_controls_see_the_very_ids_of_the_plugin(run, classifier, knowing, wordpiece):
    """None but the first condition sees other tokens: what differs is what stands behind them."""
    seen = []

    class Spy(bag.Bag):
        def forward(self, input_ids, **kwargs):
            seen.append(input_ids.clone())
            return super().forward(input_ids, **kwargs)

    classifier.__class__ = Spy
    run(batch_size=100, controls=("none", "shuffled", "random", "zero", "untrained"))
    plain, *linked = seen[1:]
    assert int(plain.max()) < len(wordpiece)
    assert len(linked) == 5
    assert int(linked[0].max()) >= len(wordpiece)
    assert all(torch.equal(ids, linked[0]) for ids in linked)


def test_nothing_attached_is_the_checkpoint_itself(run, classifier, wordpiece):
    rows = bag.rows()
    batch = wordpiece([row["text"] for row in rows], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = classifier(**batch).logits.argmax(-1)
    found = []
    run(metric=lambda predictions, labels: found.append(predictions) or 0.0, controls=["none"], resamples=1)
    assert any(np.array_equal(predictions, expected.numpy()) for predictions in found)


@pytest.mark.parametrize("attached", [False, True])
def test_the_model_is_given_back_as_it_was(run, classifier, knowing, wordpiece, attached):
    classifier.train()
    classifier.head.eval()
    classifier.head.bias.requires_grad_(False)
    attachment = knowing.attach(classifier, wordpiece) if attached else None
    before, config = fingerprint(classifier), copy.deepcopy(classifier.config.to_dict())
    modes = [module.training for module in classifier.modules()]
    learning = [parameter.requires_grad for parameter in classifier.parameters()]
    mapping, vectors = [knowing.mapping, knowing.knowledge_base]
    run(controls=EVERY_CONTROL)
    assert fingerprint(classifier) == before
    assert classifier.config.to_dict() == config
    assert [module.training for module in classifier.modules()] == modes
    assert [parameter.requires_grad for parameter in classifier.parameters()] == learning
    assert attachments(classifier) == ([attachment] if attached else [])
    assert (knowing.mapping, knowing.knowledge_base) == (mapping, vectors)
    if attachment is not None:
        (hook,) = find_hooks(classifier)
        assert hook.mapping is knowing.mapping
        assert hook.vectors.knowledge_base is knowing.knowledge_base
        attachment.detach()


def test_an_error_in_the_middle_gives_the_model_back_too(run, classifier, knowing):
    classifier.train()
    calls = []

    def fail(module, args):
        calls.append(module)
        if len(calls) == 4:  # among the batches of a control
            raise KeyboardInterrupt

    handle = classifier.head.register_forward_pre_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        run(batch_size=100)
    handle.remove()
    assert attachments(classifier) == []
    assert classifier.training
    assert run()["plugin"].value == 1.0


def test_an_attached_plugin_is_evaluated_as_it_is_attached(run, classifier, knowing, wordpiece):
    reference = without_times(run())
    with knowing.attach(classifier, wordpiece) as (_, tokenizer):
        assert without_times(run(tokenizer=tokenizer)) == reference
        assert without_times(run()) == reference
    attached = knowing.attach(classifier, wordpiece, form="replace", linker=lambda texts: [[] for _ in texts])
    with attached, pytest.warns(UserWarning, match="found no mention"):
        report = run()
    assert (report.form, report.mentions_linked) == ("replace", 0)


@pytest.mark.parametrize("given", [{"form": "replace"}, {"linker": lambda texts: [[] for _ in texts]}])
def test_what_an_attached_plugin_would_not_heed_is_an_error(given, run, classifier, knowing, wordpiece):
    with knowing.attach(classifier, wordpiece), pytest.raises(EvaluationError, match="attached already"):
        run(**given)


def test_a_plugin_that_is_switched_off(run, classifier, knowing, wordpiece):
    attachment = knowing.attach(classifier, wordpiece)
    with attachment.disabled(), pytest.raises(EvaluationError, match="the plugin is switched off"):
        run()


@pytest.mark.parametrize("too", [False, True])
def test_another_plugin_is_in_the_way(too, run, classifier, knowing, wordpiece):
    other = KnowledgePlugin.for_model(classifier, tiny.knowledge_base())
    with other.attach(classifier, wordpiece):
        if too:
            knowing.attach(classifier, wordpiece)
        with pytest.raises(EvaluationError, match="another plugin is attached to the model, 'cities'"):
            run()


def test_weights_that_learn_and_dropout_are_no_matter(run, classifier):
    reference = without_times(run())
    with frozen(classifier, dropout=0.9):
        classifier.train()
        assert without_times(run()) == reference


def test_a_linker_and_a_form_of_ones_own(run, towns):
    seen = []
    real = DictionaryLinker(towns)

    def linker(texts):
        seen.append(texts)
        return real(texts)

    report = run(linker=linker, form="replace", controls=EVERY_CONTROL)
    assert (report.form, report["plugin"].value) == ("replace", 1.0)
    assert seen == [[row["text"] for row in bag.rows()]]  # once, for all conditions


def test_given_mentions_beat_the_linker(run):
    rows = [{"text": "the town", "mentions": [Mention(4, 8, f"x:{i}")], "label": bag.label_of(i)} for i in range(bag.N)]
    report = run(dataset=rows)
    assert (report.entities, report["plugin"].value, report["none"].value) == (30, 1.0, 0.5)


def test_a_repo_of_several_plugins(run, classifier, knowing, tmp_path):
    knowing.save_pretrained(tmp_path / "bag")
    other = KnowledgePlugin.for_model(tiny.classifier(), tiny.knowledge_base())
    other.save_pretrained(tmp_path / "bert")
    undecided = KnowledgePlugin.from_pretrained(tmp_path)
    assert run(plugin=undecided)["plugin"].value == 1.0


# ---- metrics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["accuracy", "micro-f1", "hits@1"])
def test_metrics_of_one_label(run, metric):
    report = run(metric=metric)
    assert (report.metric, report["plugin"].value, report["none"].value) == (metric, 1.0, 0.5)


def test_the_loss_of_a_classifier(run, classifier, wordpiece):
    report = run(metric="loss")
    rows = bag.rows()
    with torch.no_grad():
        logits = classifier(**wordpiece([r["text"] for r in rows], padding=True, return_tensors="pt")).logits
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([r["label"] for r in rows]))
    assert report["none"].value == pytest.approx(float(expected))
    assert run(metric="perplexity")["none"].value == pytest.approx(float(expected.exp()))
    assert not report.higher_is_better
    assert report.verdict.startswith("A gain is shown: plugin minus shuffled is -")


def test_several_labels(run, wordpiece, towns):
    model = bag.bag(wordpiece, labels=3)
    rows = [row | {"label": [1, row["label"], 0]} for row in bag.rows()]
    report = run(bag.plugin_for(model, towns), model, wordpiece, rows, "micro-f1")
    assert report["plugin"].value == 1.0
    assert report["none"].value == pytest.approx(2 * 60 / (2 * 60 + 0 + 30))
    with pytest.raises(EvaluationError, match="expected one label for each text, found several"):
        run(bag.plugin_for(model, towns), model, wordpiece, rows, "hits@1")


def test_a_function_as_metric(run, wordpiece, towns):
    def correlation(predictions, labels):
        """Spearman would do as well."""
        return float(np.corrcoef(predictions, labels)[0, 1]) if predictions.std() > 0 else 0.0

    model = bag.bag(wordpiece, labels=1)
    rows = [row | {"label": 2.5 * row["label"] - 1} for row in bag.rows()]
    report = run(bag.plugin_for(model, towns), model, wordpiece, rows, correlation)
    assert report.metric == "correlation"
    assert report["plugin"].value == pytest.approx(1.0)
    assert report["none"].value == 0.0
    assert report.verdict.startswith("A gain is shown")
    with pytest.raises(EvaluationError, match="head gives one number"):
        run(bag.plugin_for(model, towns), model, wordpiece, rows, "accuracy")


def test_a_function_sees_what_a_named_metric_counts(run):
    def share(predictions, labels):
        return float(np.mean(predictions == labels))

    seen = ["x:3", "x:4"]
    ours, theirs = run(metric=share, seen=seen), run(metric="accuracy", seen=seen)
    for a, b in zip(ours.results, theirs.results, strict=True):
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))
    assert [c.p_value for c in ours.comparisons] == [c.p_value for c in theirs.comparisons]


def test_a_function_sees_answers_in_the_order_of_the_rows(run):
    rows, seen = bag.rows(3), []  # of different lengths, so that batches put them in another order
    run(dataset=rows, metric=lambda predictions, labels: seen.append(labels) or 0.0, batch_size=7, controls=[])
    assert seen[0].tolist() == [row["label"] for row in rows]


def test_a_function_of_which_less_is_better(run):
    def errors(predictions, labels):
        return float(np.mean(predictions != labels))

    assert run(metric=errors).verdict.startswith("The plugin does harm")
    assert run(metric=errors, higher_is_better=False).verdict.startswith("A gain is shown")


def test_a_masked_language_model(run, wordpiece, towns):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForMaskedLM(BertConfig(vocab_size=400, max_position_embeddings=64, **sizes)).train()
    plugin = KnowledgePlugin.for_model(model, towns)
    rows = [{"text": row["text"]} for row in bag.rows()]
    report = run(plugin, model, wordpiece, rows, "perplexity", EVERY_CONTROL)
    assert report.task == "fill-mask"
    assert 300 < report["none"].value < 500  # of 400 words it knows none
    assert len({r.value for r in report.results}) == 7
    assert report.text_template == "{description}"
    assert run(plugin, model, wordpiece, rows, "hits@200")["none"].value > 0.1
    assert run(plugin, model, wordpiece, rows, "accuracy")["none"].rows == 60


# The last one is the name of an entity, and would be linked if it stood in the text.
ANSWERS = [("paris museum", "the old town"), ("mayor train", "vienna 7"), ("harbour paris", "museum mayor")]


def cross_entropy_by_hand(model, tokenizer, rows, **mentions):
    """Of the answers' tokens, one row at a time; both tokenizers put one token before a text and one behind it."""
    losses = []
    for i, row in enumerate(rows):
        options = {name: found[i] for name, found in mentions.items()}
        length = len(tokenizer(row["text"], add_special_tokens=False, **options).input_ids)
        ids = tokenizer(f"{row['text']} {row['label']}", return_tensors="pt", **options).input_ids
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, length:-2]
        losses.append(torch.nn.functional.cross_entropy(logits, ids[0, 1 + length : -1], reduction="none"))
    return float(torch.cat(losses).mean())


@pytest.mark.parametrize("family", ["wordpiece", "byte_bpe"])
@pytest.mark.parametrize("form", ["concat", "replace"])
def test_answers_of_a_decoder(run, family, form, towns):
    model, tokenizer = build("llama"), tiny.tokenizer(family)
    plugin = KnowledgePlugin.for_model(model, towns)
    rows = [{"text": f"she moved to {name} in", "label": label} for name, label in ANSWERS]
    report = run(plugin, model, tokenizer, rows, "loss", EVERY_CONTROL, form=form, batch_size=2)
    assert report.task == "text-generation"
    assert (report.mentions_linked, report.entities) == (3, 3)
    assert len({r.value for r in report.results}) == 7
    assert report["none"].value == pytest.approx(cross_entropy_by_hand(model, tokenizer, rows), rel=1e-4)
    with plugin.attach(model, tokenizer, form=form) as attachment:
        found = [attachment.explain(row["text"]) for row in rows]
        by_hand = cross_entropy_by_hand(model, attachment.tokenizer, rows, mentions=found)
    assert report["plugin"].value == pytest.approx(by_hand, rel=1e-4)
    described = [
        row | {"text": f"{towns[f[0].entity_id].description} {row['text']}"} for row, f in zip(rows, found, strict=True)
    ]
    assert report["text"].value == pytest.approx(cross_entropy_by_hand(model, tokenizer, described), rel=1e-4)


def test_a_decoder_counts_the_tokens_of_answers_alone(run, wordpiece, towns):
    model = build("llama")
    rows = [{"text": f"she moved to {name} in", "label": label} for name, label in ANSWERS]
    seen = []
    metric = lambda predictions, labels: seen.append(labels) or float(np.mean(predictions == labels))  # noqa: E731
    run(KnowledgePlugin.for_model(model, towns), model, wordpiece, rows, metric, "none", resamples=1)
    expected = [token for _, label in ANSWERS for token in wordpiece(label, add_special_tokens=False).input_ids]
    assert all(labels.tolist() == expected for labels in seen if len(labels) == len(expected))
    assert len(seen[0]) == len(expected)


def test_answers_of_a_masked_language_model(run, wordpiece, towns):
    model = build("bert-masked-lm")
    plugin = KnowledgePlugin.for_model(model, towns)
    rows = [{"text": f"she moved to {name} in [MASK].", "label": label} for name, label in ANSWERS]
    report = run(plugin, model, wordpiece, rows, "loss", EVERY_CONTROL)
    assert (report.task, report.mentions_linked) == ("fill-mask", 3)
    losses = []
    for row in rows:
        answer = wordpiece(row["label"], add_special_tokens=False).input_ids
        ids = wordpiece(row["text"].replace("[MASK]", "[MASK] " * len(answer)), return_tensors="pt").input_ids
        with torch.no_grad():
            logits = model(input_ids=ids).logits[ids == wordpiece.mask_token_id]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="none"))
    assert report["none"].value == pytest.approx(float(torch.cat(losses).mean()), rel=1e-4)
    with pytest.raises(EvaluationError, match=r"expected \[MASK\] once in the text"):
        run(plugin, model, wordpiece, [{"text": "paris museum", "label": "vienna"}])


def test_a_metric_that_gives_no_number(run):
    report = run(metric=lambda predictions, labels: float("nan"))
    assert str(report).startswith("The metric <lambda> gives no number here.")
    assert report.to_dict()["values"]["plugin"] is None


# ---- the probe -----------------------------------------------------------------------------------------------------


def test_the_probe_says_whether_the_knowledge_is_there(run, classifier, towns):
    there = run(probe=True).probe
    assert (there.accuracy, there.entities, there.labels) == (1.0, 30, 2)
    noise = towns.with_vectors(torch.randn(bag.N, 3, generator=torch.Generator().manual_seed(5)))
    assert run(bag.plugin_for(classifier, noise), probe=True).probe.accuracy < 0.75


def test_a_probe_that_cannot_be_made_is_left_out_unless_it_is_asked_for(run):
    rows = bag.rows(1)[:4]
    assert "a probe needs 10 entities" in run(dataset=rows, probe=None).omitted["probe"]
    with pytest.raises(EvaluationError, match="a probe needs 10 entities"):
        run(dataset=rows, probe=True)
    report = run(probe=False)
    assert report.probe is None
    assert report.omitted == {}


def test_a_probe_without_scikit_learn(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.linear_model", None)
    assert "pip install 'knowledge-plugin[evaluation]'" in run(probe=None).omitted["probe"]
    with pytest.raises(MissingDependencyError, match="scikit-learn"):
        run(probe=True)


# ---- what cannot be done -------------------------------------------------------------------------------------------


def test_a_linker_that_finds_nothing_is_said_loudly(run):
    with pytest.warns(UserWarning, match="The linker found no mention in any of the 5 rows"):
        report = run(dataset=[{"text": "nothing to see", "label": 0}] * 5, controls=("none", "shuffled", "text"))
    assert str(report).startswith("The linker found no mention in any of the 5 rows")
    assert report.mentions_linked == report.entities == 0
    assert len({r.value for r in report.results}) == 1
    assert report.omitted == {"text": "no entity is linked."}


def test_text_is_left_out_where_nothing_is_described_unless_it_is_asked_for(run, classifier):
    plugin = bag.plugin_for(classifier, bag.knowledge(described=False))
    report = run(plugin)
    assert "none of the linked entities has a description" in report.omitted["text"]
    assert [r.condition for r in report.results] == ["none", "plugin", "shuffled", "random"]
    assert "Left out: text" in str(report)
    assert report.text_template is None
    with pytest.raises(EvaluationError, match="none of the linked entities has a description"):
        run(plugin, controls=["text"])


def test_one_entity_cannot_be_shuffled(run, classifier):
    kb = KnowledgeBase.from_entities([Entity("x:1", "paris museum")], [[1.0, 0.0, 0.0]], name="one")
    plugin = bag.plugin_for(classifier, kb)
    rows = [{"text": "paris museum", "label": 1}] * 3
    report = run(plugin, dataset=rows)
    assert "at least two" in report.omitted["shuffled"]
    assert (report["plugin"].value, report["plugin"].low) == (1.0, None)
    with pytest.raises(KnowledgeBaseError, match="at least two"):
        run(plugin, dataset=rows, controls=["shuffled"])


def test_a_control_that_is_not_there(run):
    with pytest.raises(EvaluationError, match=r"expected some of none, untrained, shuffled, .* found 'magic'"):
        run(controls=("none", "magic"))


def test_controls_are_what_was_asked_for(run):
    assert [r.condition for r in run(controls=[]).results] == ["plugin"]
    assert [r.condition for r in run(controls="none").results] == ["none", "plugin"]
    assert [r.condition for r in run(controls=("plugin", "zero", "none", "none")).results] == ["none", "plugin", "zero"]
    assert [r.condition for r in run().results] == ["none", "plugin", "shuffled", "random", "text"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "f1"}, "metric: expected one of"),
        ({"dataset": []}, "the dataset is empty"),
        ({"dataset": [{"text": "paris museum", "label": 2}]}, "label 2, but the model's head has 2 classes"),
        ({"dataset": [{"text": "paris museum"}]}, "no 'label'"),
        ({"batch_size": 0}, "batch_size: expected a number from 1 up"),
        ({"resamples": 0}, "resamples: expected a number from 1 up"),
        ({"confidence": 95}, "confidence: expected a number between 0 and 1"),
        ({"seen": ["geo:1"]}, r"seen: expected ids of entities, found 'geo:1' .* its ids look like 'x:"),
        ({"seen": "x1"}, "seen: expected ids of entities"),
    ],
)
def test_wrong_use_is_said_before_the_first_batch(run, classifier, options, message):
    with pytest.raises(EvaluationError, match=message) as error:
        run(**options)
    assert isinstance(error.value, KnowledgePluginError)
    assert attachments(classifier) == []


def test_a_model_without_a_head(run, wordpiece, kb):
    config = BertConfig(
        vocab_size=400, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    model = BertModel(config)
    with pytest.raises(EvaluationError, match="BertModel: expected a head that gives one answer for each text"):
        run(KnowledgePlugin.for_model(model, kb), model, wordpiece, [{"text": "paris", "label": 0}])
    assert attachments(model) == []


# ---- what is said --------------------------------------------------------------------------------------------------


def test_progress_is_on_stderr_and_can_be_switched_off(run, capfd):
    run(progress=True)
    captured = capfd.readouterr()
    assert "evaluating: " in captured.err
    assert captured.out == ""
    run(progress=False)
    assert capfd.readouterr().err == ""


def test_the_report_can_be_kept(run, tmp_path):
    report = run(dataset_name="towns", seen=["x:1"])
    report.save(tmp_path / "report.json")
    report.plot(tmp_path / "report.png")
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["dataset"] == "towns"
    assert data["knowledge_base"] == "towns"
    assert data["task"] == "text-classification"
    assert data["values"]["plugin"] == 1.0
    assert set(data["seconds"]) == set(data["tokens_per_second"]) == set(data["values"])
    assert {"knowledge-plugin", "torch", "transformers"} <= set(data["versions"])


def test_where_a_checkpoint_lies_is_nobodys_concern(run, classifier, tmp_path):
    (tmp_path / "checkpoint").mkdir()
    classifier.config._name_or_path = str(tmp_path / "checkpoint")
    assert run().model == "checkpoint"
    classifier.config._name_or_path = "user/model"
    assert run().model == "user/model"
    classifier.config._name_or_path = ""
    assert run().model == "Bag"


def test_the_name_of_a_dataset_of_datasets(run):
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list(bag.rows())
    assert run(dataset=data).dataset is None
    data.info.dataset_name = "towns"
    assert run(dataset=data).dataset == "towns"
