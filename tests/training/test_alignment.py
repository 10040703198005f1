from __future__ import annotations

import math

import pytest
import torch

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, align
from knowledge_plugin.errors import IncompatibleModelError, MappingError, TrainingError
from knowledge_plugin.results import EvaluationResult, Score
from knowledge_plugin.training import AlignmentReport
from tests import tiny
from tests.contract.architectures import build

WORDS = [
    "paris",
    "museum",
    "mayor",
    "train",
    "river",
    "house",
    "harbour",
    "town",
    "spring",
    "morning",
    "vienna",
    "prague",
]
NAMES = [f"{a} {b}" for a in WORDS for b in WORDS if a != b] + WORDS


def name_embedding(model, tokenizer, name):
    """The mean of the word pieces of a name as it stands within a sentence."""
    encoded = tokenizer(f"a {name}", add_special_tokens=False, return_offsets_mapping=True)
    ids = [i for i, (_, end) in zip(encoded.input_ids, encoded.offset_mapping, strict=True) if end > len("a ")]
    return model.get_input_embeddings().weight[ids].mean(dim=0).detach()


def fingerprint(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def linear_kb(model, tokenizer):
    """Entities whose vectors are an invertible linear function of their names' embeddings."""
    names = torch.stack([name_embedding(model, tokenizer, name) for name in NAMES])
    mixing = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1))).Q
    entities = [Entity(f"x:{i}", name, popularity=i) for i, name in enumerate(NAMES)]
    return KnowledgeBase.from_entities(entities, names @ mixing * 20 + 3, name="linear"), names


def test_a_linear_relation_is_recovered(model, tokenizer):
    kb, names = linear_kb(model, tokenizer)
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    report = align(plugin, model, tokenizer, ridge=1e-6)
    assert report.entities == len(NAMES)
    assert report.r2 > 0.9999
    found = plugin.word_embeddings([f"x:{i}" for i in range(len(NAMES))])
    torch.testing.assert_close(found, names, atol=1e-4, rtol=1e-3)


def test_a_linear_relation_without_any_ridge(model, wordpiece):
    kb, names = linear_kb(model, wordpiece)
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    assert align(plugin, model, wordpiece, ridge=0).r2 > 0.9999
    torch.testing.assert_close(plugin.word_embeddings(["x:7"])[0], names[7], atol=1e-4, rtol=1e-3)


def test_r2_is_the_share_of_explained_variance(model, wordpiece):
    entities = [Entity(f"x:{i}", name) for i, name in enumerate(NAMES)]
    vectors = torch.randn(len(NAMES), 5, generator=torch.Generator().manual_seed(2))
    plugin = KnowledgePlugin.for_model(
        model, KnowledgeBase.from_entities(entities, vectors, name="noise"), mapping="affine"
    )
    report = align(plugin, model, wordpiece, ridge=0)
    names = torch.stack([name_embedding(model, wordpiece, name) for name in NAMES])
    found = plugin.word_embeddings([entity.id for entity in entities])
    names, found = names - names.mean(0), found - found.mean(0)
    # The rows are stretched after the fit; shrunk again, they are the least squares solution.
    fitted = found * ((names * found).sum() / found.square().sum())
    expected = 1 - (names - fitted).square().sum() / names.square().sum()
    assert report.r2 == pytest.approx(float(expected), abs=1e-4)
    assert report.r2 < 0.3
    assert report.ridge == 0


@pytest.mark.parametrize("ridge", [0, 10.0, 1e6])
def test_however_little_is_explained_rows_are_spread_as_names_are(model, wordpiece, ridge):
    kb, names = linear_kb(model, wordpiece)
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    report = align(plugin, model, wordpiece, ridge=ridge)
    rows = plugin.word_embeddings([kb.entity_id(row) for row in range(len(kb))])
    torch.testing.assert_close(rows.mean(0), names.mean(0), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(rows.var(0).sum(), names.var(0).sum(), atol=0, rtol=1e-3)
    assert report.r2 < 1e-3 or ridge < 1e6


def test_fewer_entities_than_dimensions(model, wordpiece, kb):
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    report = align(plugin, model, wordpiece, ridge=0)
    assert report.entities == 5
    assert all(torch.isfinite(p).all() for p in plugin.mapping.parameters())


def test_it_changes_the_mapping_and_nothing_else(model, wordpiece, kb):
    before, vectors = fingerprint(model), kb.vectors(range(5))
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    untrained = plugin.word_embeddings(["geo:york"])
    align(plugin, model, wordpiece)
    assert not torch.equal(plugin.word_embeddings(["geo:york"]), untrained)
    after = model.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert torch.equal(kb.vectors(range(5)), vectors)
    assert not model.training
    assert all(p.requires_grad for p in model.parameters())


def test_twice_gives_the_same(model, wordpiece, kb):
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    first = align(plugin, model, wordpiece), plugin.word_embeddings(["geo:york"])
    second = align(plugin, model, wordpiece), plugin.word_embeddings(["geo:york"])
    assert first[0] == second[0]
    assert torch.equal(first[1], second[1])


def test_batches_make_no_difference(model, wordpiece, kb, monkeypatch):
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    whole = align(plugin, model, wordpiece), plugin.word_embeddings(["geo:york"])
    monkeypatch.setattr("knowledge_plugin.training.alignment._BATCH", 2)
    parts = align(plugin, model, wordpiece), plugin.word_embeddings(["geo:york"])
    assert whole[0].entities == parts[0].entities
    torch.testing.assert_close(whole[1], parts[1])


def test_a_saved_knowledge_base_aligns_alike(model, wordpiece, kb, tmp_path):
    kb.save_pretrained(tmp_path)
    plugins = [
        KnowledgePlugin.for_model(model, each, mapping="affine")
        for each in (kb, KnowledgeBase.from_pretrained(tmp_path))
    ]
    assert align(plugins[0], model, wordpiece) == align(plugins[1], model, wordpiece)
    assert torch.equal(plugins[0].word_embeddings(["geo:york"]), plugins[1].word_embeddings(["geo:york"]))


def test_entities_without_a_label_are_left_out(model, wordpiece):
    entities = [Entity("x:1", "paris"), Entity("x:2", ""), Entity("x:3", "river")]
    kb = KnowledgeBase.from_entities(entities, torch.eye(3), name="t", linker="external")
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    assert align(plugin, model, wordpiece).entities == 2


def test_no_entity_has_a_label(model, wordpiece):
    kb = KnowledgeBase.from_entities([Entity("x:1", "")], [[1.0]], name="t", linker="external")
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    with pytest.raises(TrainingError, match="no entity"):
        align(plugin, model, wordpiece)


def test_an_mlp_is_refused_and_untouched(model, wordpiece, kb):
    plugin = KnowledgePlugin.for_model(model, kb, mapping="mlp")
    before = plugin.word_embeddings(["geo:york"])
    with pytest.raises(MappingError, match="mapping='affine'"):
        align(plugin, model, wordpiece)
    assert torch.equal(plugin.word_embeddings(["geo:york"]), before)


def test_a_negative_ridge(model, wordpiece, kb):
    with pytest.raises(TrainingError, match="ridge"):
        align(KnowledgePlugin.for_model(model, kb, mapping="affine"), model, wordpiece, ridge=-1)


def test_a_model_of_another_width(model, wordpiece, kb):
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    config = model.config.__class__(**{**model.config.to_dict(), "hidden_size": 32, "vocab_size": 400})
    with pytest.raises(IncompatibleModelError, match="32 wide"):
        align(plugin, model.__class__(config), wordpiece)


def test_a_model_of_another_space_leaves_the_mapping_as_it_was(model, wordpiece, kb):
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    before = [p.clone() for p in plugin.mapping.parameters()]
    with pytest.raises(IncompatibleModelError, match="another space"):
        align(plugin, tiny.classifier(seed=1), wordpiece)
    assert all(torch.equal(a, b) for a, b in zip(before, plugin.mapping.parameters(), strict=True))


def test_while_attached(model, wordpiece, kb):
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    expected = align(plugin, model, wordpiece)
    with plugin.attach(model, wordpiece):
        assert align(plugin, model, wordpiece) == expected


def test_bfloat16_models(wordpiece, kb):
    model = tiny.classifier().bfloat16()
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    assert align(plugin, model, wordpiece).entities == 5


@pytest.mark.parametrize("ridge", [-1.0, math.nan, math.inf])
def test_a_ridge_that_is_no_number_is_refused(model, wordpiece, kb, ridge):
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    with pytest.raises(TrainingError, match="ridge"):
        align(plugin, model, wordpiece, ridge=ridge)


# ---- the ridge, chosen by what is held out -------------------------------------------------------------------------


def noisy_plugin(model, tokenizer, noise):
    """Vectors that say something about names, and a lot of other things."""
    names = torch.stack([name_embedding(model, tokenizer, name) for name in NAMES])
    generator = torch.Generator().manual_seed(4)
    about = names @ torch.linalg.qr(torch.randn(16, 16, generator=generator)).Q / names.std()
    other = noise * torch.randn(len(NAMES), 40, generator=generator)
    entities = [Entity(f"x:{i}", name) for i, name in enumerate(NAMES)]
    kb = KnowledgeBase.from_entities(entities, torch.cat([about + other[:, :16], other[:, 16:]], 1), name="noisy")
    return KnowledgePlugin.for_model(model, kb, mapping="affine")


def test_the_ridge_explains_more_of_what_is_held_out_than_others_do(model, wordpiece):
    plugin = noisy_plugin(model, wordpiece, noise=1.0)
    chosen = align(plugin, model, wordpiece)
    others = [align(plugin, model, wordpiece, ridge=ridge).held_out_r2 for ridge in (0, 1e-3, 1e5)]
    assert 0 < chosen.held_out_r2 < chosen.r2
    assert all(chosen.held_out_r2 >= other for other in others)
    assert max(others) < chosen.held_out_r2 + 1e-9


def test_clean_vectors_want_less_ridge_than_noisy_ones(model, wordpiece):
    clean, noisy = (align(noisy_plugin(model, wordpiece, n), model, wordpiece) for n in (0.01, 3.0))
    assert clean.held_out_r2 > 0.9 > noisy.held_out_r2
    assert clean.ridge < noisy.ridge


def test_vectors_that_say_nothing_are_told_by_what_is_held_out(model, wordpiece):
    entities = [Entity(f"x:{i}", name) for i, name in enumerate(NAMES)]
    vectors = torch.randn(len(NAMES), 60, generator=torch.Generator().manual_seed(2))
    kb = KnowledgeBase.from_entities(entities, vectors, name="noise")
    report = align(KnowledgePlugin.for_model(model, kb, mapping="affine"), model, wordpiece, ridge=0)
    assert report.r2 > 0.3
    assert report.held_out_r2 < 0
    assert str(report).splitlines()[-1].startswith("Of the 15 that were held out the fit explains next to nothing")
    assert "targets='descriptions'" in str(report)


@pytest.mark.parametrize(
    ("entities", "held_out_r2", "worth_nothing"),
    [
        (60, 0.04, True),  # in a newcomer's hands, evaluate found nothing
        (37_458, 0.053, False),  # geography, with 18 points of accuracy
        (37_458, 0.0, True),
        (60, 0.2, False),
        (30, -0.5, True),
    ],
)
def test_what_is_near_nothing_depends_on_how_many_are_held_out(entities, held_out_r2, worth_nothing):
    report = AlignmentReport("names", entities, 0.9, held_out_r2, 1.0)
    assert (report.verdict is not None) is worth_nothing
    assert len(str(report).splitlines()) == 1 + worth_nothing


def test_other_targets_are_named():
    assert "targets='names'" in str(AlignmentReport("descriptions", 60, 0.9, 0.0, 1.0))


def test_too_few_to_choose_by(model, wordpiece, kb):
    report = align(KnowledgePlugin.for_model(model, kb, mapping="affine"), model, wordpiece)
    assert report.held_out_r2 is None
    assert report.ridge > 0
    assert "Nothing was held out" in report.verdict
    assert "next to nothing" not in str(report)


# ---- other targets -------------------------------------------------------------------------------------------------


def test_descriptions_as_targets(model, wordpiece):
    meaning = torch.stack([name_embedding(model, wordpiece, name) for name in NAMES])
    entities = [Entity(f"x:{i}", f"w {i}", description=name) for i, name in enumerate(NAMES)]
    entities.append(Entity("x:none", "w"))
    vectors = torch.cat([meaning * 20, torch.ones(1, 16)])
    plugin = KnowledgePlugin.for_model(
        model, KnowledgeBase.from_entities(entities, vectors, name="d"), mapping="affine"
    )
    report = align(plugin, model, wordpiece, targets="descriptions", ridge=1e-6)
    assert (report.targets, report.entities) == ("descriptions", len(NAMES))
    found = plugin.word_embeddings([f"x:{i}" for i in range(len(NAMES))])
    torch.testing.assert_close(found, meaning, atol=1e-4, rtol=1e-3)


def shared_space(model, tokenizer):
    """Words of the vocabulary, and entities, in one other space."""
    mixing = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(3))).Q
    vocabulary = [
        "the",
        "museum",
        "in",
        "opened",
        "and",
        "mayor",
        "of",
        "came",
        "to",
        "see",
        "it",
        "a",
        "train",
        "from",
    ]
    vocabulary += ["every", "morning", "river", "is", "she", "town", "bought", "house", "near", "harbour", "last"]
    words = {word: name_embedding(model, tokenizer, word) @ mixing for word in vocabulary}
    target = torch.randn(3, 16, generator=torch.Generator().manual_seed(5)) * 0.02
    entities = [Entity(f"x:{i}", f"Nobody {i}") for i in range(3)]
    return words, KnowledgeBase.from_entities(entities, target @ mixing, name="w2v"), target


def test_words_that_both_vocabularies_share(model, wordpiece):
    words, kb, target = shared_space(model, wordpiece)
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    unknown = {"qqqzz xyq": torch.full((16,), 100.0)}  # several pieces: in one vocabulary only
    report = align(plugin, model, wordpiece, targets="words", words=words | unknown, ridge=1e-9)
    assert (report.targets, report.entities) == ("words", len(words))
    torch.testing.assert_close(plugin.word_embeddings(["x:0", "x:1", "x:2"]), target, atol=1e-4, rtol=1e-2)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"targets": "words"}, "words={...}"),
        ({"words": {"a": [0.0] * 16}}, "targets='words'"),
        ({"targets": "words", "words": {"a": [0.0] * 3}}, "width 16.* found 3 for 'a'"),
        ({"targets": "words", "words": {"a": [math.nan] * 16}}, "NaN"),
        ({"targets": "words", "words": {}}, "nothing to fit to"),
        ({"targets": "descriptions"}, "no entity .* has a description"),
        ({"targets": "magic"}, "expected 'names', 'descriptions' or 'words'"),
    ],
)
def test_nothing_to_fit_to(model, wordpiece, options, hint):
    _, kb, _ = shared_space(model, wordpiece)
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    before = plugin.word_embeddings(["x:0"])
    with pytest.raises(TrainingError, match=hint):
        align(plugin, model, wordpiece, **options)
    assert torch.equal(plugin.word_embeddings(["x:0"]), before)


def test_results_of_another_mapping_are_dropped(model, wordpiece, kb):
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    plugin.results = [EvaluationResult("text-classification", "cities", "accuracy", Score(0.9))]
    align(plugin, model, wordpiece)
    assert plugin.results == []


@pytest.mark.parametrize(
    ("method", "settings"),
    [("memory", {}), ("kformer", {}), ("kb-attention", {}), ("passage", {"mapping": "affine", "tokens": 2})],
)
def test_a_network_that_leads_elsewhere_is_refused_and_keeps_its_weights(method, settings, kb, wordpiece):
    model = build("llama")
    plugin = KnowledgePlugin.for_model(model, kb, method=method, **settings)
    before = fingerprint(plugin.mapping)
    with pytest.raises(MappingError, match=f"'{method}'.*MapTuningTrainer"):
        align(plugin, model, wordpiece)
    assert all(torch.equal(tensor, before[name]) for name, tensor in plugin.mapping.state_dict().items())


def test_a_passage_of_one_token_is_fitted(model, kb, wordpiece):
    plugin = KnowledgePlugin.for_model(model, kb, method="passage", mapping="affine")
    assert align(plugin, model, wordpiece).entities == len(kb)
