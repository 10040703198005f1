"""What learns beside the mapping: in the optimizer, in checkpoints, and never in a plugin."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import TrainingArguments

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer
from knowledge_plugin.errors import ArtifactError
from knowledge_plugin.objectives.side import SideModule
from tests import tiny

NAMES = ["paris", "vienna", "museum", "river", "train", "mayor"]
ROWS = [{"text": f"the town of {name} opened", "label": i % 2} for i, name in enumerate(NAMES)]


class Toy(SideModule):
    """Wants the logits to be what it learns."""

    def __init__(self, drop: float = 0.2):
        super().__init__()
        torch.manual_seed(5)
        self.wanted, self.fixed = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
        self.drop, self.modes = nn.Dropout(drop), []

    @contextmanager
    def step(self, model, hook, inputs):
        self.modes.append(self.training)
        assert hook.mapping is not None
        yield lambda outputs: (self.drop(self.wanted(outputs["logits"])) - 1).square().mean()


@pytest.fixture
def trainer(tmp_path):
    def make(folder, toy, max_steps=4, rows=ROWS, **options):
        model = tiny.classifier(labels=2)
        vectors = torch.randn(len(NAMES), 8, generator=torch.Generator().manual_seed(0))
        kb = KnowledgeBase.from_entities([Entity(f"x:{i}", n) for i, n in enumerate(NAMES)], vectors, name="toy")
        args = TrainingArguments(
            str(tmp_path / folder), report_to=[], disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
            learning_rate=0.01, max_steps=max_steps,
            **{"save_strategy": "steps", "save_steps": 2, "per_device_train_batch_size": 3} | options,
        )  # fmt: skip
        torch.manual_seed(0)
        run = MapTuningTrainer(
            model=model, plugin=KnowledgePlugin.for_model(model, kb), args=args, train_dataset=rows,
            eval_dataset=rows, processing_class=tiny.tokenizer("wordpiece"),
        )  # fmt: skip
        run.side_modules["toy"] = toy
        return run

    return make


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_with_the_mapping_and_leaves_the_model(trainer):
    toy = Toy()
    before = state(toy)
    run = trainer("run", toy)
    mapping, model = state(run.plugin.mapping), state(run.model)
    run.train()
    after = state(toy)
    assert not torch.equal(before["wanted.weight"], after["wanted.weight"])
    assert torch.equal(before["fixed.weight"], after["fixed.weight"])  # as it was told
    assert not same(mapping, state(run.plugin.mapping))
    assert same(model, state(run.model))
    assert not any("side" in name for name, _ in run.model.named_modules())
    assert not toy.training
    assert all(toy.modes)


def test_its_loss_is_added(trainer):
    run, without = trainer("a", Toy(0.0)), trainer("b", Toy(0.0))
    del without.side_modules["toy"]
    more = run.evaluate()["eval_loss"] - without.evaluate()["eval_loss"]
    toy = run.side_modules["toy"]
    assert not any(toy.modes)
    logits = torch.tensor(without.predict(ROWS).predictions)
    expected = (toy.wanted(logits) - 1).square().mean()
    assert more == pytest.approx(expected.item(), rel=1e-4)


def test_of_accumulated_batches_it_is_a_mean(trainer):
    runs = [trainer("a", Toy(0.0), 1, per_device_train_batch_size=6)]
    runs.append(trainer("b", Toy(0.0), 1, gradient_accumulation_steps=2))
    for run in runs:
        run.base_dropout = 0.0
        run.train()
    whole, parts = (state(run.side_modules["toy"]) for run in runs)
    torch.testing.assert_close(whole, parts)


def test_a_resumed_run_ends_where_an_uninterrupted_one_ends(trainer, tmp_path):
    whole = trainer("whole", Toy())
    whole.train()
    resumed = trainer("resumed", Toy())
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert same(state(whole.plugin.mapping), state(resumed.plugin.mapping))
    assert same(state(whole.side_modules), state(resumed.side_modules))


def test_it_is_in_checkpoints_and_in_no_plugin(trainer, tmp_path):
    run = trainer("run", Toy())
    run.train()
    run.save_model(str(tmp_path / "saved"))
    run.plugin.save_pretrained(tmp_path / "plugin")
    found = {str(path.relative_to(tmp_path)) for path in Path(tmp_path).rglob("toy.safetensors")}
    assert found == {"run/checkpoint-2/toy.safetensors", "run/checkpoint-4/toy.safetensors"}
    KnowledgePlugin.from_pretrained(tmp_path / "run" / "checkpoint-4")


def test_a_checkpoint_without_it_is_not_gone_on_from(trainer, tmp_path):
    trainer("run", Toy()).train()
    (tmp_path / "run" / "checkpoint-2" / "toy.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"toy\.safetensors"):
        trainer("again", Toy()).train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))


def test_the_best_is_loaded_at_the_end(trainer, tmp_path):
    losses = iter([0.1, 0.5, 0.9])
    run = trainer(
        "run", Toy(), eval_strategy="steps", eval_steps=2, load_best_model_at_end=True, metric_for_best_model="loss"
    )
    run.evaluation_loop = lambda *args, **kwargs: type(
        "Output", (), {"metrics": {"eval_loss": next(losses)}, "num_samples": 6}
    )()
    run.train()
    best = Toy()
    best.load(tmp_path / "run" / "checkpoint-2" / "toy.safetensors")
    assert same(state(best), state(run.side_modules["toy"]))
