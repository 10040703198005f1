"""A world whose answers are known: three kinds of model, each figure worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.errors import EvaluationError
from knowledge_plugin.evaluation.propagation import ProbeSet, propagation
from tests.evaluation.propagation import counting
from tests.evaluation.propagation.test_entities import by_genre


@pytest.fixture(scope="module")
def tokenizer():
    return counting.make_tokenizer()


def ask(model, tokenizer, probes, kb=None, **options):
    plugin = counting.plugin_for(model, tokenizer, kb or counting.knowledge())
    options = {"resamples": 200, "progress": False, "edits": 3} | options
    return propagation(plugin, model, tokenizer, probes, **options)


@pytest.mark.parametrize("kind", counting.KINDS)
def test_a_choice_whose_answer_is_known(tokenizer, kind):
    report = ask(counting.make_model(kind, tokenizer), tokenizer, counting.inferences())
    assert report.kind == kind
    for part in ("all", "easy", "hard"):
        # Nothing tells: every option alike, and none of them right.
        assert report.figure("none", "P(gold)", part).value == pytest.approx(0.25)
        assert report.figure("none", part=part).value == 0
        for condition in ("prepend", "plugin"):
            assert report.figure(condition, "P(gold)", part).value == pytest.approx(counting.share(1))
            assert report.figure(condition, part=part).value == 1
    # Another's definition is right where the other one is of the same kind, and else as wrong as can be.
    wrong = 1 / (math.exp(counting.WORTH) + 3)
    accuracy, p_gold = report.figure("another").value, report.figure("another", "P(gold)").value
    assert p_gold == pytest.approx(accuracy * counting.share(1) + (1 - accuracy) * wrong)
    assert report.figure("majority").value == report.figure("chance").value == pytest.approx(0.25)
    gain = report.contrast("plugin", "shuffled")
    assert gain.difference == pytest.approx(1 - report.figure("shuffled").value)
    assert gain.low > 0
    assert report.verdict.startswith("Knowledge propagates: where the definition does not say")
    assert report.coverage.linked == report.coverage.rows == counting.N


@pytest.mark.parametrize("kind", counting.KINDS)
def test_a_span_whose_perplexity_is_known(tokenizer, kind):
    report = ask(counting.make_model(kind, tokenizer), tokenizer, counting.spans())
    vocabulary = len(tokenizer)
    known = 1 / counting.share(1, vocabulary)
    assert report.figure("none").value == pytest.approx(vocabulary)
    for condition in ("prepend", "plugin"):
        for part in ("all", "easy", "hard"):
            assert report.figure(condition, part=part).value == pytest.approx(known)
    assert report.figure("shuffled").value > known
    changes = {each.condition: each for each in report.specificity}
    # A definition makes a genre likelier, and all else less so; what is plugged in elsewhere does nothing.
    expected = vocabulary - 1 + math.exp(counting.WORTH)
    assert changes["prepend"].after == pytest.approx(expected)
    assert changes["prepend"].before == changes["plugin"].before == pytest.approx(vocabulary)
    assert changes["plugin"].difference == 0
    assert changes["plugin"].touched == 0


def test_the_definition_of_another_is_another_s(tokenizer):
    probes = counting.inferences().probes[:2]  # a drama, and what is to be a comedy
    report = ask(counting.make_model("causal", tokenizer), tokenizer, ProbeSet("entity-inferences", probes))
    assert (report.figure("prepend").value, report.figure("another").value) == (1, 0)


def test_a_plugin_that_links_elsewhere_is_not_specific(tokenizer):
    model, probes = counting.make_model("causal", tokenizer), counting.spans()
    kb = counting.knowledge()
    kb.upsert([counting.Entity("x:king", counting.POPULAR[0])], counting.one_hot(0)[None])
    changes = {each.condition: each for each in ask(model, tokenizer, probes, kb).specificity}
    vocabulary = len(tokenizer)
    touched = math.log(vocabulary - 1 + math.exp(counting.WORTH))  # of one sentence of two
    assert changes["plugin"].touched == changes["shuffled"].touched == 1
    assert changes["plugin"].before == pytest.approx(vocabulary)
    assert changes["plugin"].after == pytest.approx(math.exp((touched + math.log(vocabulary)) / 2))


def test_entities_come_from_their_definitions(tokenizer):
    model = counting.make_model("causal", tokenizer)
    with pytest.warns(UserWarning, match=r"8 have no vector; 4 of 12 rows .* Without a vector: 'Mellin'"):
        few = ask(model, tokenizer, counting.inferences(), counting.knowledge(4))
    assert few.figure("plugin").value == pytest.approx(4 / 12)
    assert few.figure("plugin", part="linked").value == 1
    all_of_them = ask(model, tokenizer, counting.inferences(), counting.knowledge(4), embedder=by_genre)
    assert all_of_them.figure("plugin").value == 1
    assert all_of_them.coverage.added == 8


def test_nothing_plugged_in_is_said_first(tokenizer):
    model = counting.make_model("causal", tokenizer)
    kb = counting.knowledge(2)
    kb.remove(["x:0"])
    probes = counting.spans()
    foreign = type(probes)("ecbd", tuple(p for p in probes.probes if p.entity != counting.NAMES[1]), probes.popular)
    with pytest.warns(UserWarning, match="0 of 22 rows"):
        report = ask(model, tokenizer, foreign, kb)
    assert report.verdict.startswith("No entity of any probe is plugged in")
    assert report.figure("plugin").value == report.figure("none").value
    # One entity is nobody to shuffle with.
    assert "two entities" in report.omitted["shuffled"]


def test_the_model_is_what_it_was(tokenizer):
    model = counting.make_model("causal", tokenizer).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batch = tokenizer("people like Zorva and it was a", return_tensors="pt")
    modes = []
    with torch.no_grad():
        logits = model(**batch).logits
        with model.register_forward_pre_hook(lambda module, _: modes.append(module.training)):
            ask(model, tokenizer, counting.inferences())
        assert not any(modes)
        assert torch.equal(model(**batch).logits, logits)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_the_same_seed_gives_the_same_report(tokenizer):
    model = counting.make_model("masked", tokenizer)
    one, other = (ask(model, tokenizer, counting.inferences(), seed=3) for _ in range(2))
    assert one == other


def test_a_method_that_looks_entities_up_by_itself(wordpiece):
    from tests.contract.architectures import build

    model = build("llama")
    torch.manual_seed(0)
    kb = counting.KnowledgeBase.from_entities(
        [counting.Entity(f"x:{i}", name) for i, name in enumerate(counting.NAMES)], torch.randn(counting.N, 8), name="k"
    )
    plugin = KnowledgePlugin.for_model(model, kb, method="kb-attention", every=1, key_dim=4)
    tokenizer = wordpiece
    report = propagation(plugin, model, tokenizer, counting.inferences(), resamples=20, progress=False)
    assert report.form == "kb-attention"
    assert "by itself" in report.omitted["specificity of the plugin"]
    assert [each.condition for each in report.specificity] == ["prepend"]
    assert report.figure("plugin", "P(gold)").value != report.figure("none", "P(gold)").value
    report = propagation(plugin, model, tokenizer, counting.spans(), resamples=20, progress=False)
    assert {each.condition: each.touched for each in report.specificity}["plugin"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected a number from 1 up"),
        ({"resamples": 0}, "resamples: expected"),
        ({"edits": 0}, "edits: expected"),
        ({"max_length": "64"}, "max_length: expected a number from 1 up, found '64'"),
        ({"seed": -1}, "seed: expected a whole number from 0 up, found -1"),
        ({"seed": None}, "seed: expected"),
        ({"confidence": 1.0}, "confidence: expected"),
        ({"embedder": "text"}, r"embedder: expected TextEmbedder\(\) or another one, found 'text'"),
    ],
)
def test_arguments_out_of_bounds(tokenizer, options, message):
    with pytest.raises(EvaluationError, match=message):
        ask(counting.make_model("causal", tokenizer), tokenizer, counting.inferences(), **options)


def test_what_cannot_be_evaluated(tokenizer):
    model = counting.make_model("causal", tokenizer)
    plugin = counting.plugin_for(model, tokenizer, counting.knowledge())
    with pytest.raises(EvaluationError, match=r"expected read_probes\(...\) or a ProbeSet, found list"):
        propagation(plugin, model, tokenizer, [])
    with plugin.attach(model, tokenizer), pytest.raises(EvaluationError, match="is attached to the model"):
        propagation(plugin, model, tokenizer, counting.inferences())
