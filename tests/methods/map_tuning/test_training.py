"""Map-tuning by mentions: masked, continued, filled in."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers as t
from transformers import TrainingArguments

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer
from knowledge_plugin.errors import TrainingError
from tests import tiny
from tests.contract.architectures import DECODER, ENCODER

NAMES = ["paris", "berlin", "vienna", "prague", "york", "museum", "harbour", "mayor", "river", "house"]
ROWS = [{"text": f"a train from {a} to {b} stops every morning"} for a in NAMES for b in NAMES if a != b]


@functools.cache  # trained twice, it is not the same twice
def wordpiece():
    return tiny.tokenizer("wordpiece")


@functools.cache
def sentinel_tokenizer():
    tokenizer = tiny.tokenizer("unigram")
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<extra_id_{i}>" for i in range(8)]})
    return tokenizer


LOUD = {"initializer_range": 0.4}  # so that an entity can be heard in the logits


def masked_lm():
    return t.BertForMaskedLM(t.BertConfig(**ENCODER, **LOUD))


def decoder():
    return t.LlamaForCausalLM(t.LlamaConfig(**DECODER, **LOUD))


def t5():
    config = {"vocab_size": 400, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    return t.T5ForConditionalGeneration(t.T5Config(**config, decoder_start_token_id=0, pad_token_id=0))


CASES = {
    "mention-mlm": (masked_lm, wordpiece),
    "mention-clm": (decoder, wordpiece),
    "mention-seq2seq": (t5, sentinel_tokenizer),
}


def make_kb() -> KnowledgeBase:
    vectors = torch.randn(len(NAMES), 8, generator=torch.Generator().manual_seed(0))
    return KnowledgeBase.from_entities([Entity(f"x:{i}", name) for i, name in enumerate(NAMES)], vectors, name="toy")


def make_trainer(objective: str, folder: Path, model=None, seed=0, data=ROWS, **options) -> MapTuningTrainer:
    build, tokenizer = CASES[objective]
    torch.manual_seed(0)
    model = (build() if model is None else model).eval()
    torch.manual_seed(seed)
    plugin = options.pop("plugin", None) or KnowledgePlugin.for_model(model, make_kb())
    tokenizer = options.pop("tokenizer", None) or tokenizer()
    own = {name: options.pop(name) for name in ("base_dropout", "eval_dataset", "form") if name in options}
    arguments = {
        "learning_rate": 1e-2, "per_device_train_batch_size": 8, "max_steps": 6, "save_strategy": "no",
        "report_to": "none", "disable_tqdm": True, "use_cpu": True, "seed": 1, "dataloader_pin_memory": False,
    }  # fmt: skip
    return MapTuningTrainer(
        model=model, plugin=plugin, objective=objective, processing_class=tokenizer, train_dataset=data,
        args=TrainingArguments(str(folder), **arguments | options), **own,
    )  # fmt: skip


def weights(plugin: KnowledgePlugin) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in plugin.mapping.parameters()]).clone()


@pytest.mark.parametrize("objective", CASES)
def test_the_loss_falls_and_the_model_stays(objective, tmp_path):
    run = make_trainer(objective, tmp_path, max_steps=60, eval_dataset=ROWS[:32], base_dropout=0.0)
    frozen = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    before = run.evaluate()["eval_loss"]
    run.train()
    assert run.evaluate()["eval_loss"] < before - 0.05
    assert all(torch.equal(tensor, frozen[name]) for name, tensor in run.model.state_dict().items())
    assert run.evaluate()["eval_loss"] == run.evaluate()["eval_loss"]


@pytest.mark.parametrize("objective", CASES)
def test_the_frozen_model_runs_with_dropout_unless_told_otherwise(objective, tmp_path):
    seen = set()
    run = make_trainer(objective, tmp_path / "a", max_steps=1)
    dropout = next((m for m in run.model.modules() if isinstance(m, torch.nn.Dropout)), None)
    if dropout is None:  # Llama keeps a number
        layer = run.model.model.layers[0].self_attn
        layer.register_forward_hook(lambda *_: seen.add(layer.attention_dropout))
    else:
        dropout.register_forward_hook(lambda module, *_: seen.add(module.p))
    run.train()
    assert seen == {0.25}


@pytest.mark.parametrize("objective", CASES)
def test_accumulated_batches_are_one_large_batch(objective, tmp_path):
    # Adam would make much of a difference in the last bit.
    same = {"base_dropout": 0.0, "max_steps": 4, "optim": "sgd", "learning_rate": 0.1}
    one = make_trainer(objective, tmp_path / "a", per_device_train_batch_size=8, **same)
    two = make_trainer(objective, tmp_path / "b", per_device_train_batch_size=4, gradient_accumulation_steps=2, **same)
    one.train()
    two.train()
    torch.testing.assert_close(weights(one.plugin), weights(two.plugin), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("objective", CASES)
def test_interrupted_and_resumed(objective, tmp_path):
    whole = make_trainer(objective, tmp_path / "whole", max_steps=20, save_strategy="steps", save_steps=14)
    whole.train()
    resumed = make_trainer(objective, tmp_path / "again", max_steps=20, seed=5)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-14"))  # within the second epoch
    assert torch.equal(weights(whole.plugin), weights(resumed.plugin))


def test_workers_draw_the_same(tmp_path):
    # In order: Trainer shuffles otherwise with workers than without.
    same = {"base_dropout": 0.0, "max_steps": 14, "train_sampling_strategy": "sequential"}
    alone = make_trainer("mention-mlm", tmp_path / "a", **same)
    helped = make_trainer("mention-mlm", tmp_path / "b", dataloader_num_workers=2, **same)
    alone.train()
    helped.train()
    assert torch.equal(weights(alone.plugin), weights(helped.plugin))


def test_batches_by_length(tmp_path):
    data = [{"text": "to paris" + " w" * (i % 3) * 12} for i in range(400)]
    widths = []
    run = make_trainer(
        "mention-mlm",
        tmp_path,
        data=data,
        train_sampling_strategy="group_by_length",
        max_steps=12,
        eval_dataset=data[:9],
    )
    run.model.register_forward_pre_hook(
        lambda module, args, kwargs: widths.append(kwargs["attention_mask"].sum(1)), with_kwargs=True
    )
    run.train()
    assert sum(len(set(lengths.tolist())) == 1 for lengths in widths) >= 8
    run.evaluate()


_TWO_PROCESSES = """
import json, os, sys
from pathlib import Path
from transformers import AutoTokenizer
from tests.methods.map_tuning.test_training import make_trainer, weights

objective, folder, batch, out, tokenizer = sys.argv[1:]
run = make_trainer(
    objective, Path(folder), base_dropout=0.0, max_steps=6, per_device_train_batch_size=int(batch),
    tokenizer=AutoTokenizer.from_pretrained(tokenizer), save_strategy="steps", save_steps=6,
    ddp_backend="gloo" if "RANK" in os.environ else None,
)
run.train()
if run.is_world_process_zero():
    Path(out).write_text(json.dumps(weights(run.plugin).tolist()))
"""


@pytest.mark.parametrize("objective", ["mention-mlm"])
def test_two_processes_end_where_one_does(objective, tmp_path):
    wordpiece().save_pretrained(tmp_path / "tokenizer")
    script = tmp_path / "run.py"
    script.write_text(_TWO_PROCESSES)
    root = str(Path(__file__).parent.parent.parent)
    env = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        "--local-addr",
        "127.0.0.1",
    ]
    results = []
    for number, (start, batch) in enumerate([([sys.executable], 8), (launch, 4)]):
        out = tmp_path / f"weights-{number}.json"
        folder = str(tmp_path / f"run-{number}")
        command = [*start, str(script), objective, folder, str(batch), str(out), str(tmp_path / "tokenizer")]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr[-3000:]
        results.append(torch.tensor(json.loads(out.read_text())))
        assert (tmp_path / f"run-{number}" / "checkpoint-6" / "mapping.safetensors").exists()
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)


# ---- said before the first step ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "model", "hint"),
    [
        ("mention-mlm", decoder, "AutoModelForMaskedLM"),
        ("mention-mlm", tiny.classifier, "AutoModelForMaskedLM"),
        ("mention-mlm", t5, "AutoModelForMaskedLM"),
        ("mention-clm", masked_lm, "AutoModelForCausalLM"),
        ("mention-clm", tiny.classifier, "AutoModelForCausalLM"),
        ("mention-clm", t5, "AutoModelForCausalLM"),
        ("mention-seq2seq", decoder, "AutoModelForSeq2SeqLM"),
        ("mention-seq2seq", masked_lm, "AutoModelForSeq2SeqLM"),
    ],
)
def test_a_base_without_the_needed_head(objective, model, hint, tmp_path):
    with pytest.raises(TrainingError, match=hint):
        make_trainer(objective, tmp_path, model=model())


def test_a_tokenizer_without_what_is_needed():
    model = t5()
    with pytest.raises(TrainingError, match="<extra_id_0>"):
        MapTuningTrainer(
            model=model, plugin=KnowledgePlugin.for_model(model, make_kb()), objective="mention-seq2seq",
            processing_class=tiny.tokenizer("unigram"), train_dataset=ROWS,
        )  # fmt: skip
    model = masked_lm()
    tokenizer = tiny.tokenizer("wordpiece")
    tokenizer.mask_token = None
    with pytest.raises(TrainingError, match="mask token"):
        MapTuningTrainer(
            model=model, plugin=KnowledgePlugin.for_model(model, make_kb()), objective="mention-mlm",
            processing_class=tokenizer, train_dataset=ROWS,
        )  # fmt: skip


@pytest.mark.parametrize("objective", CASES)
def test_a_form_that_leaves_no_mention(objective, tmp_path):
    with pytest.raises(TrainingError, match="form='concat'"):
        make_trainer(objective, tmp_path, form="replace")


def test_a_collator_of_ones_own():
    model = masked_lm()
    with pytest.raises(TrainingError, match="leave out data_collator"):
        MapTuningTrainer(
            model=model, plugin=KnowledgePlugin.for_model(model, make_kb()), objective="mention-mlm",
            processing_class=tiny.tokenizer("wordpiece"), data_collator=lambda rows: {},
        )  # fmt: skip


def test_a_dataset_without_mentions(tmp_path):
    run = make_trainer("mention-mlm", tmp_path, data=[{"text": "nothing to see"}] * 40)
    with pytest.raises(TrainingError, match="mention no entity"):
        run.train()
