"""What every method that looks entries up must do in training: learn, leave the base alone, and go on where it was."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback, TrainingArguments, set_seed

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer, evaluate
from knowledge_plugin.errors import TrainingError
from tests import tiny
from tests.contract.architectures import DECODER

_NAMES = "paris berlin vienna prague york museum harbour mayor river house train town".split()
_ANSWERS = ["old", "wide"]


@functools.cache  # trained twice, it is not the same twice
def _tokenizer():
    return tiny.tokenizer("wordpiece")


def _world() -> tuple[KnowledgeBase, list[dict]]:
    """Entities with random keys, and a value that says which of two answers is right for them."""
    entities = [Entity(f"x:{i}", name, description=_ANSWERS[i % 2]) for i, name in enumerate(_NAMES)]
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([[4.0, 0.0] if i % 2 else [0.0, 4.0] for i in range(len(_NAMES))])
    vectors = torch.cat([torch.randn(len(_NAMES), 6, generator=generator), values], dim=1)
    kb = KnowledgeBase.from_entities(entities, vectors, name="things")
    rows = [
        {"text": f"{before} {name} is", "label": _ANSWERS[i % 2]}
        for i, name in enumerate(_NAMES)
        for before in ("the", "she saw that the")
    ]
    return kb, rows


def _model() -> LlamaForCausalLM:
    set_seed(0)
    return LlamaForCausalLM(LlamaConfig(**DECODER | {"hidden_size": 32, "initializer_range": 0.3})).eval()


def _trainer(
    method: str, folder: Path, objective: str = "task", epochs: int | None = None, **options
) -> tuple[MapTuningTrainer, list[dict]]:
    kb, rows = _world()
    model, tokenizer = _model(), _tokenizer()
    set_seed(0)
    settings = {
        "kb-attention": {"every": 1, "key_dim": 6},
        "passage": {"tokens": 2},
    }.get(method, {"top": 1, "layers": [0, 1], "key_dim": 6})
    plugin = KnowledgePlugin.for_model(model, kb, method=method, **settings)
    attends = method == "kb-attention"
    arguments = TrainingArguments(
        str(folder), num_train_epochs=epochs or (600 if attends else 400), learning_rate=5e-3 if attends else 1e-2,
        per_device_train_batch_size=24, report_to="none", disable_tqdm=True, seed=0, use_cpu=True, **options,
    )  # fmt: skip
    return MapTuningTrainer(
        model, arguments, plugin=plugin, objective=objective, processing_class=tokenizer, train_dataset=rows
    ), rows


def _digest(model) -> str:
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in model.state_dict().values())).hexdigest()


def check_it_learns(method: str, folder: Path, objective: str = "task") -> None:
    trainer, rows = _trainer(method, folder, objective, save_strategy="no")
    before = _digest(trainer.model)
    trainer.train()
    assert _digest(trainer.model) == before
    assert trainer.plugin.config.training.objective == objective
    report = evaluate(
        trainer.plugin, trainer.model, _tokenizer(), rows, controls=("none", "shuffled"),
        resamples=20, progress=False, probe=False,
    )  # fmt: skip
    # Of random models, some learn all of it and some most: the least of several seeds was 0.79, and 0.2 over shuffled.
    assert report["plugin"].value > 0.7
    assert report["plugin"].value > report["shuffled"].value + 0.1
    with pytest.raises(TrainingError, match="expected one of 'task'"):
        MapTuningTrainer(
            trainer.model,
            plugin=trainer.plugin,
            objective="mention-mlm",
            processing_class=_tokenizer(),
            train_dataset=rows,
        )


def check_it_resumes(method: str, folder: Path) -> None:
    whole, _ = _trainer(method, folder / "whole", epochs=4, save_strategy="no")
    whole.train()
    half, _ = _trainer(method, folder / "half", epochs=4, save_strategy="epoch")
    half.add_callback(_StopAfter(2))
    half.train()
    rest, _ = _trainer(method, folder / "half", epochs=4, save_strategy="epoch")
    rest.train(resume_from_checkpoint=True)
    for a, b in zip(whole.plugin.mapping.parameters(), rest.plugin.mapping.parameters(), strict=True):
        torch.testing.assert_close(a, b)


class _StopAfter(TrainerCallback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.epoch >= self.epochs
