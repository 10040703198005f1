"""Decoding of relations: what is decoded from what, and that it teaches the mapping."""

from __future__ import annotations

import pytest
import torch
from transformers import TrainingArguments

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.hook import find_hooks
from knowledge_plugin.objectives.relation_decoding import RelationDecoding
from tests import tiny
from tests.contract.architectures import build

PEOPLE = ["paris", "vienna", "museum", "river", "train", "mayor"]
TOWNS = {"t:0": "the museum", "t:1": "opened"}
TRIPLES = [(f"x:{i}", "lives in", f"t:{i % 2}") for i in range(len(PEOPLE))]
ROWS = [{"text": f"the town of {name} opened", "label": 0} for name in PEOPLE]


@pytest.fixture
def model():
    return tiny.classifier(labels=2)


@pytest.fixture
def kb():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(len(PEOPLE), 8, generator=generator)
    return KnowledgeBase.from_entities([Entity(f"x:{i}", n) for i, n in enumerate(PEOPLE)], vectors, name="people")


def decoding(model, wordpiece, kb, triples=TRIPLES, **options):
    torch.manual_seed(1)
    return RelationDecoding(model, wordpiece, kb, triples, **{"names": TOWNS} | options)


def test_either_end_is_decoded_from_an_entity_that_has_a_vector(model, wordpiece, kb):
    assert decoding(model, wordpiece, kb).examples == 6  # towns have no vector: nothing is decoded from them
    assert decoding(model, wordpiece, kb, [("x:0", "knows", "x:1"), ("x:0", "knows", "x:1")]).examples == 2
    assert decoding(model, wordpiece, kb, [*TRIPLES, ("x:0", "likes", "t:9"), ("y:1", "near", "y:2")]).examples == 6


def test_it_asks_for_the_pieces_of_names(model, wordpiece, kb):
    side = decoding(model, wordpiece, kb)
    words = model.get_input_embeddings().weight
    for name, wanted in zip(["the museum", "opened"], side.wanted, strict=False):
        pieces = wordpiece(name, add_special_tokens=False)["input_ids"]
        asked = [int(each) for each in wanted if each >= 0]
        torch.testing.assert_close(side.words[asked], words[pieces])


def test_a_relation_has_two_directions(model, wordpiece, kb):
    side = decoding(model, wordpiece, kb, [("x:0", "knows", "x:1"), ("x:2", "knows", "x:3"), ("x:0", "likes", "x:1")])
    assert side.ways.tolist() == [0, 1, 0, 1, 2, 3]
    assert side.rows.tolist() == [0, 1, 2, 3, 0, 1]
    assert len(side.relations) == 4


def test_its_loss_is_weighed(model, wordpiece, kb):
    side = decoding(model, wordpiece, kb, weight=0.25)
    plugin = KnowledgePlugin.for_model(model, kb)
    with plugin.attach(model, wordpiece):
        (hook,) = find_hooks(model)
        torch.manual_seed(2)
        chosen = torch.randint(side.examples, (3,))
        torch.manual_seed(2)
        with side.train().step(model, hook, {"input_ids": torch.ones(3, 1)}) as added:
            assert added(None).item() == pytest.approx(0.25 * side(hook, chosen).item())


def test_of_an_entity_of_several_tokens_it_reads_their_mean(model, wordpiece, kb):
    plugin = KnowledgePlugin.for_model(model, kb, method="passage", tokens=2)
    with plugin.attach(model, wordpiece):
        (hook,) = find_hooks(model)
        side, chosen = decoding(model, wordpiece, kb), torch.tensor([0, 5])
        before, width = side(hook, chosen).item(), side.words.shape[1]
        mapping = hook.mapping
        hook.mapping = lambda vectors: mapping(vectors).view(-1, 2, width).flip(1).flatten(1)
        assert side(hook, chosen).item() == pytest.approx(before)
        hook.mapping = lambda vectors: mapping(vectors).view(-1, 2, width)[:, :1].repeat(1, 2, 1).flatten(1)
        assert side(hook, chosen).item() != pytest.approx(before)


def test_triples_without_a_name_are_an_error(model, wordpiece, kb):
    with pytest.raises(TrainingError, match="names="):
        decoding(model, wordpiece, kb, names={})
    with pytest.raises(TrainingError, match="weight"):
        decoding(model, wordpiece, kb, weight=0)


def test_of_a_blank_name_nothing_is_asked_for(model, wordpiece, kb):
    side = decoding(model, wordpiece, kb, names={"t:0": " \u200b", "t:1": "opened"})
    assert side.examples == 3
    assert bool((side.wanted >= 0).any(1).all())
    with pytest.raises(TrainingError, match="names="):
        decoding(model, wordpiece, kb, names={"t:0": " ", "t:1": "\u200b"})


def test_entities_must_be_where_they_are_in_the_plugin(model, wordpiece, kb, tmp_path):
    turned = KnowledgeBase.from_entities(list(kb)[::-1], kb.vectors(range(len(kb))).flip(0), name="turned")
    same = KnowledgeBase.from_entities(list(kb), kb.vectors(range(len(kb))), name="same")
    trained(model, kb, wordpiece, tmp_path, decoding(model, wordpiece, same), max_steps=1)[0].train()
    trainer, _ = trained(model, kb, wordpiece, tmp_path, decoding(model, wordpiece, turned), max_steps=1)
    with pytest.raises(TrainingError, match=r"RelationDecoding\(model, tokenizer, plugin.knowledge_base"):
        trainer.train()


def test_a_knowledge_base_that_changes_is_looked_at_again(model, wordpiece, kb, tmp_path):
    trainer, _ = trained(model, kb, wordpiece, tmp_path, decoding(model, wordpiece, kb), max_steps=1)
    trainer.train()
    kb.upsert([Entity("x:new", "house")], torch.zeros(1, 8))
    trainer.train()
    kb.remove(["x:0"])
    with pytest.raises(TrainingError, match="is not where it was"):
        trainer.train()


def test_a_plugin_whose_entries_are_no_tokens_is_refused(wordpiece, kb):
    model = build("llama")
    plugin = KnowledgePlugin.for_model(model, kb, method="memory")
    with plugin.attach(model, wordpiece):
        side = decoding(model, wordpiece, kb)
        (hook,) = find_hooks(model)
        with pytest.raises(TrainingError, match="map-tuning"), side.step(model, hook, {"input_ids": torch.ones(1, 1)}):
            pass


@pytest.mark.parametrize("method", ["map-tuning", "passage"])
def test_gradients_reach_the_mapping_and_the_decoder_alone(method, model, wordpiece, kb):
    settings = {"tokens": 2} if method == "passage" else {}
    plugin = KnowledgePlugin.for_model(model, kb, method=method, **settings)
    with plugin.attach(model, wordpiece):
        (hook,) = find_hooks(model)
        plugin.mapping.requires_grad_(True)
        side = decoding(model, wordpiece, kb)
        side(hook, torch.tensor([0, 5])).backward()
    assert all(parameter.grad is not None for parameter in plugin.mapping.parameters())
    assert all(parameter.grad is not None for parameter in side.parameters())
    assert model.get_input_embeddings().weight.grad is None


def trained(model, kb, wordpiece, folder, side, **options):
    torch.manual_seed(0)
    args = TrainingArguments(
        str(folder), report_to=[], disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False, learning_rate=0.02,
        per_device_train_batch_size=3, save_strategy="no", **{"max_steps": 200} | options,
    )  # fmt: skip
    plugin = KnowledgePlugin.for_model(model, kb)
    trainer = MapTuningTrainer(
        model, args, plugin=plugin, processing_class=wordpiece, train_dataset=ROWS, eval_dataset=ROWS,
        auxiliary={"relations": side},
    )  # fmt: skip
    return trainer, plugin


def test_the_mapping_learns_to_tell_what_the_labels_do_not(model, wordpiece, kb, tmp_path):
    side = decoding(model, wordpiece, kb)
    trainer, plugin = trained(model, kb, wordpiece, tmp_path, side)
    everything = torch.arange(side.examples)
    with plugin.attach(model, wordpiece):
        before = side(find_hooks(model)[0], everything).item()
    trainer.train()
    with plugin.attach(model, wordpiece):
        after = side(find_hooks(model)[0], everything).item()
    assert before > 0.8
    # Of one who knows the two towns, and not whose they are: log 2 for two thirds of the pieces, which is 0.46.
    assert after < 0.4


def test_an_evaluation_draws_nothing(model, wordpiece, kb, tmp_path):
    side = decoding(model, wordpiece, kb)
    trainer, _ = trained(model, kb, wordpiece, tmp_path, side)
    losses = {trainer.evaluate()["eval_loss"] for _ in range(2)}
    assert len(losses) == 1


@pytest.mark.parametrize("name", ["mapping", "model", "a/b", "task", "training", "keys", 3])
def test_names_that_no_file_or_module_can_have_are_refused(name, model, wordpiece, kb, tmp_path):
    with pytest.raises(TrainingError, match="auxiliary"):
        MapTuningTrainer(
            model, plugin=KnowledgePlugin.for_model(model, kb), processing_class=wordpiece, train_dataset=ROWS,
            auxiliary={name: decoding(model, wordpiece, kb)},
        )  # fmt: skip


def test_what_is_no_loss_of_ours_is_refused(model, wordpiece, kb):
    for loss in (torch.nn.Linear(1, 1), lambda outputs: 0):
        with pytest.raises(TrainingError, match="auxiliary: expected a SideModule"):
            MapTuningTrainer(
                model, plugin=KnowledgePlugin.for_model(model, kb), processing_class=wordpiece, train_dataset=ROWS,
                auxiliary={"mine": loss},
            )  # fmt: skip
