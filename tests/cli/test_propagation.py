"""``evaluate --task``: does knowledge propagate?"""

from __future__ import annotations

import json

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from knowledge_plugin import KnowledgePlugin
from tests import tiny
from tests.cli.common import as_json, run
from tests.evaluation.propagation import counting
from tests.evaluation.propagation.test_entities import by_genre

KINDS = ("causal", "masked", "seq2seq")


def language_model(kind, size):
    torch.manual_seed(0)
    if kind == "causal":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=size, n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=None, eos_token_id=2
            )
        )
    if kind == "masked":
        return BertForMaskedLM(
            BertConfig(
                vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
            )
        )
    config = T5Config(vocab_size=size, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0)
    return T5ForConditionalGeneration(config)


@pytest.fixture(scope="module")
def tokenizer():
    return counting.make_tokenizer()


@pytest.fixture(params=KINDS)
def checkpoint(request, tmp_path, tokenizer):
    folder = tmp_path / "checkpoint"
    model = language_model(request.param, len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    KnowledgePlugin.for_model(model, counting.knowledge(), tokenizer, mapping="affine").save_pretrained(tmp_path / "p")
    return folder, tmp_path / "p", request.param


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    counting.write(counting.spans(), folder)
    return counting.write(counting.inferences(), folder)


@pytest.mark.parametrize("task", ["ecbd", "entity-inferences"])
def test_a_folder_of_published_files_and_every_kind_of_model(checkpoint, data, task):
    folder, plugin, kind = checkpoint
    found = as_json("evaluate", plugin, "--model", folder, "--task", task, "--data", data)
    assert (found["task"], found["kind"]) == (task, kind)
    assert found["coverage"]["linked"] == found["coverage"]["rows"]
    assert {each["condition"] for each in found["specificity"]} == {"prepend", "plugin", "shuffled", "random"}


@pytest.mark.parametrize("checkpoint", ["causal"], indirect=True)
def test_a_file_and_a_report_for_people(checkpoint, data):
    folder, plugin, _ = checkpoint
    file = data / "data" / "entity_inferences" / "tv_show.json"
    shown = run("evaluate", plugin, "--model", folder, "--task", "entity-inferences", "--data", file)
    assert shown.exit_code == 0, shown.output
    assert "its definition in the text" in shown.stdout
    assert "(chance)" in shown.stdout


@pytest.mark.parametrize("checkpoint", ["causal"], indirect=True)
@pytest.mark.parametrize(
    ("options", "code", "hint"),
    [
        (["--task", "mind-reading"], 2, "expected ecbd or entity-inferences"),
        (["--task", "ecbd", "--metric", "accuracy"], 2, "--metric"),
        (["--task", "ecbd", "--plot", "p.png"], 2, "--plot"),
        (["--task", "ecbd", "--embedder", "TransE"], 2, "expected text"),
        (["--embedder", "text"], 2, "a folder"),
        ([], 2, "a folder: expected a file"),
    ],
)
def test_wrong_use(checkpoint, data, options, code, hint):
    folder, plugin, _ = checkpoint
    done = run("evaluate", plugin, "--model", folder, "--data", data, *options)
    assert done.exit_code == code, done.output
    assert hint in done.stderr.replace("\n", " ").replace("│", "")


@pytest.mark.parametrize("checkpoint", ["causal"], indirect=True)
def test_data_that_are_none(checkpoint, tmp_path):
    folder, plugin, _ = checkpoint
    (tmp_path / "rows.json").write_text('{"text": "a"}\n')
    done = run("evaluate", plugin, "--model", folder, "--task", "ecbd", "--data", tmp_path / "rows.json")
    assert done.exit_code == 1
    assert "rows.json:1: probe_sentences: expected an object" in done.stderr


def test_a_checkpoint_that_predicts_no_words(tmp_path, tokenizer, data):
    model = tiny.classifier(len(tokenizer))
    model.save_pretrained(tmp_path / "checkpoint")
    tokenizer.save_pretrained(tmp_path / "checkpoint")
    KnowledgePlugin.for_model(model, counting.knowledge(), mapping="affine").save_pretrained(tmp_path / "p")
    done = run("evaluate", tmp_path / "p", "--model", tmp_path / "checkpoint", "--task", "ecbd", "--data", data)
    assert done.exit_code == 1
    assert "found 'BertForSequenceClassification'" in done.stderr


@pytest.mark.filterwarnings("default::UserWarning")
@pytest.mark.parametrize("checkpoint", ["causal"], indirect=True)
def test_entities_that_the_plugin_lacks_are_said_and_counted(checkpoint, data, tmp_path, tokenizer):
    folder, _, _ = checkpoint
    model = language_model("causal", len(tokenizer))
    KnowledgePlugin.for_model(model, counting.knowledge(3), tokenizer, mapping="affine").save_pretrained(
        tmp_path / "few"
    )
    done = run("evaluate", tmp_path / "few", "--model", folder, "--task", "ecbd", "--data", data, "--json")
    assert done.exit_code == 0, done.output
    assert "9 have no vector" in done.stderr
    assert json.loads(done.stdout)["coverage"]["linked"] == 6


@pytest.mark.parametrize("checkpoint", ["causal"], indirect=True)
@pytest.mark.parametrize("options", [["--embedder", "text"], ["--text-model", "some-model"]])
def test_an_embedder_adds_them_from_their_definitions(checkpoint, data, tmp_path, tokenizer, monkeypatch, options):
    folder, _, _ = checkpoint
    model = language_model("causal", len(tokenizer))
    KnowledgePlugin.for_model(model, counting.knowledge(3), tokenizer, mapping="affine").save_pretrained(
        tmp_path / "few"
    )
    monkeypatch.setattr("knowledge_plugin.building.embedders.TextEmbedder", lambda *model: by_genre)
    found = as_json("evaluate", tmp_path / "few", "--model", folder, "--task", "ecbd", "--data", data, *options)
    assert (found["coverage"]["known"], found["coverage"]["added"]) == (3, 9)
