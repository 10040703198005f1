from __future__ import annotations

import pytest
import torch
from transformers import TrainingArguments

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer, align
from tests import tiny

NAMES = ["paris", "vienna", "museum", "river", "train", "mayor"]


@pytest.fixture
def kb():
    vectors = torch.randn(len(NAMES), 8, generator=torch.Generator().manual_seed(0))
    return KnowledgeBase.from_entities([Entity(f"x:{i}", name) for i, name in enumerate(NAMES)], vectors, name="toy")


def trainer_of(plugin, model, folder, **options):
    rows = [{"text": f"the town of {name} opened", "label": i % 2} for i, name in enumerate(NAMES)]
    rows += [{"text": "the town opened", "label": 0}] * 2
    args = TrainingArguments(
        str(folder), num_train_epochs=2, per_device_train_batch_size=4, learning_rate=0.01, report_to=[],
        disable_tqdm=True, use_cpu=True, seed=7, **options,
    )  # fmt: skip
    return MapTuningTrainer(
        model=model, plugin=plugin, args=args, train_dataset=rows, processing_class=tiny.tokenizer("wordpiece")
    )


def test_a_plugin_says_how_it_learned(kb, tmp_path):
    model = tiny.classifier(labels=2)
    plugin = KnowledgePlugin.for_model(model, kb)
    assert plugin.config.training is None
    result = trainer_of(plugin, model, tmp_path / "run", save_strategy="no").train()
    plugin.save_pretrained(tmp_path / "plugin")
    found = KnowledgePlugin.from_pretrained(tmp_path / "plugin").config.training
    assert found == plugin.config.training
    assert (found.objective, found.rows, found.rows_with_mention) == ("task", 8, 0.75)
    assert (found.epochs, found.steps, found.batch_size, found.seed) == (2.0, 4, 4, 7)
    assert found.learning_rate == 0.01
    assert found.loss == pytest.approx(result.training_loss)
    assert found.seconds > 0
    assert found.versions["torch"] == torch.__version__
    card = (tmp_path / "plugin" / "README.md").read_text()
    assert "| objective | task |" in card
    assert "| rows with mention | 75 % |" in card
    assert "| torch |" in card
    assert str(tmp_path) not in card


def test_a_checkpoint_says_how_far_it_had_learned(kb, tmp_path):
    model = tiny.classifier(labels=2)
    plugin = KnowledgePlugin.for_model(model, kb)
    trainer_of(plugin, model, tmp_path, save_strategy="epoch").train()
    steps = [KnowledgePlugin.from_pretrained(tmp_path / f"checkpoint-{n}").config.training.steps for n in (2, 4)]
    assert steps == [2, 4]


def test_alignment_takes_the_place_of_what_was_said_before(kb, tmp_path):
    model, tokenizer = tiny.classifier(labels=2), tiny.tokenizer("wordpiece")
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    trainer_of(plugin, model, tmp_path, save_strategy="no").train()
    report = align(plugin, model, tokenizer)
    found = plugin.config.training
    assert (found.objective, found.rows, found.steps) == ("align", report.entities, None)
    assert found.measures["r2"] == report.r2
    plugin.save_pretrained(tmp_path / "plugin")
    assert "fitted in closed form" in (tmp_path / "plugin" / "README.md").read_text()


def test_a_training_that_never_took_a_step_leaves_no_record(kb, tmp_path):
    model = tiny.classifier(labels=2)
    plugin = KnowledgePlugin.for_model(model, kb)
    trainer = trainer_of(plugin, model, tmp_path, save_strategy="no")
    trainer.train_dataset = [{"text": "nothing here", "label": 0}]
    with pytest.raises(Exception, match="mention no entity"):
        trainer.train()
    assert plugin.config.training is None
