"""How people run a training: in half precision, with loggers, on a disk that is full, with the wrong base."""

from __future__ import annotations

import resource

import pytest
import torch
from transformers import TrainerCallback, TrainingArguments

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer
from knowledge_plugin.errors import IncompatibleModelError, SaveError
from tests import tiny

NAMES = ["paris", "vienna", "museum", "river", "train", "mayor"]
ROWS = [{"text": f"the town of {name} opened", "label": i % 2} for i, name in enumerate(NAMES)]


@pytest.fixture
def model():
    return tiny.classifier(labels=2)


@pytest.fixture
def plugin(model):
    vectors = torch.randn(len(NAMES), 8, generator=torch.Generator().manual_seed(0))
    entities = [Entity(f"x:{i}", name) for i, name in enumerate(NAMES)]
    return KnowledgePlugin.for_model(model, KnowledgeBase.from_entities(entities, vectors, name="toy"))


def run(model, plugin, folder, callbacks=(), **options):
    args = TrainingArguments(
        str(folder), report_to=[], disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
        **{"max_steps": 4, "per_device_train_batch_size": 3, "learning_rate": 0.01, "save_strategy": "no"} | options,
    )  # fmt: skip
    return MapTuningTrainer(
        model=model, plugin=plugin, args=args, train_dataset=ROWS, processing_class=tiny.tokenizer("wordpiece"),
        callbacks=list(callbacks),
    )  # fmt: skip


def weights(plugin):
    return torch.cat([parameter.detach().flatten() for parameter in plugin.mapping.parameters()]).clone()


@pytest.mark.parametrize("whole", [True, False], ids=["a bf16 model", "autocast"])
def test_in_bf16(whole, model, plugin, tmp_path):
    model = model.to(torch.bfloat16) if whole else model
    before = weights(plugin)
    result = run(model, plugin, tmp_path, bf16=not whole).train()
    after = weights(plugin)
    assert result.training_loss > 0
    assert not torch.equal(before, after)
    assert after.dtype == torch.float32
    assert bool(after.isfinite().all())


def test_loggers_and_callbacks_hear_of_it(model, plugin, tmp_path):
    class Listener(TrainerCallback):
        heard: list[str] = []

        def on_log(self, args, state, control, logs, **kwargs):
            self.heard += list(logs)

    run(model, plugin, tmp_path, [Listener()], logging_steps=1, lr_scheduler_type="cosine", warmup_steps=2).train()
    assert {"loss", "learning_rate", "grad_norm", "train_runtime"} <= set(Listener.heard)


def test_a_disk_that_is_full_at_a_checkpoint(model, plugin, tmp_path):
    class FillTheDisk(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = weights(plugin)
    try:
        with pytest.raises(SaveError, match="checkpoint-4"):
            run(model, plugin, tmp_path, [FillTheDisk()], save_strategy="steps", save_steps=2).train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    # Nothing is lost: the checkpoint before is whole, what was learned is in memory, and the model is as it was.
    KnowledgePlugin.from_pretrained(tmp_path / "checkpoint-2")
    assert not torch.equal(before, weights(plugin))
    assert not any("mapping" in name for name, _ in model.named_modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    plugin.save_pretrained(tmp_path / "after")


def test_a_plugin_for_another_base_is_refused_before_the_first_step(plugin, tmp_path):
    other = tiny.classifier(labels=2, seed=1)
    with pytest.raises(IncompatibleModelError, match="another space"):
        run(other, plugin, tmp_path).train()
    assert plugin.config.training is None
