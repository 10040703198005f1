from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, align
from knowledge_plugin.config import TrainingConfig
from tests import tiny
from tests.attacks import hostile
from tests.cli.common import as_json, run


@pytest.mark.parametrize("folder", ["kb_folder", "plugin_folder"])
def test_kb_info(folder, request):
    folder = request.getfixturevalue(folder)
    values = as_json("kb", "info", folder)
    expected = {"name": "cities", "rows": 5, "aliases": 7, "dim": 8, "dtype": "float32", "license": "cc-by-4.0"}
    assert {key: values[key] for key in expected} == expected
    assert values["bytes"] > 0
    result = run("kb", "info", folder)
    assert result.exit_code == 0
    assert "cities" in result.stdout
    assert "cc-by-4.0" in result.stdout


def test_kb_info_counts_the_entities_that_the_linker_cannot_find(tmp_path, kb_folder):
    assert as_json("kb", "info", kb_folder)["unlinkable entities"] == 0
    entities = [Entity("x:1", "Of"), Entity("x:2", "X"), Entity("x:3", "Ada", aliases=["of"]), Entity("x:4", " the ")]
    KnowledgeBase.from_entities(entities, torch.eye(4), name="t").save_pretrained(tmp_path)
    assert as_json("kb", "info", tmp_path)["unlinkable entities"] == 3
    assert "unlinkable entities" in run("kb", "info", tmp_path).stdout


def test_kb_info_says_how_ambiguous_names_are(tmp_path):
    entities = [Entity("x:1", "Paris"), Entity("x:2", "PARIS"), Entity("x:3", "Ada", aliases=["of"])]
    KnowledgeBase.from_entities(entities, torch.eye(3), name="t").save_pretrained(tmp_path)
    values = as_json("kb", "info", tmp_path)
    assert (values["distinct names"], values["ambiguous names"], values["names never linked"]) == (3, 1, 1)
    assert values["ambiguity rate"] == pytest.approx(1 / 3)
    assert values["most ambiguous names"] == [["paris", 2]]
    shown = run("kb", "info", tmp_path).stdout
    assert "33.3 %" in shown
    assert "paris (2)" in shown


def test_kb_info_counts_descriptions_and_names_besides_labels(tmp_path):
    ada = Entity("x:1", "Ada", aliases=["A. Lovelace", "Ada"], description="a countess")
    KnowledgeBase.from_entities([ada, Entity("x:2", "Bob")], torch.eye(2), name="t").save_pretrained(tmp_path / "kb")
    values = as_json("kb", "info", tmp_path / "kb")
    assert (values["names besides labels"], values["entities with a description"]) == (1, 1)
    KnowledgeBase.from_entities([Entity("x:2", "Bob")], torch.eye(1), name="t").save_pretrained(tmp_path / "bare")
    values = as_json("kb", "info", tmp_path / "bare")
    assert (values["names besides labels"], values["entities with a description"]) == (0, 0)


def test_kb_info_tells_the_history_in_words(tmp_path):
    kb = KnowledgeBase.from_entities([Entity("x:1", "Ada"), Entity("x:2", "Bob")], torch.eye(2), name="t", version="1")
    kb.save_pretrained(tmp_path)
    assert "{" not in run("kb", "info", tmp_path).stdout
    kb.remove(["x:1"], version="2")
    kb.save_pretrained(tmp_path)
    assert "1: 2 entities; 2: 1 entities (1 removed)" in run("kb", "info", tmp_path).stdout


def test_inspect_for_programs(plugin_folder):
    values = as_json("inspect", plugin_folder)
    expected = {"mapping": "affine", "embedding width": 16, "mapping parameters": 8 * 16 + 16, "kb rows": 5}
    expected |= {"looks untrained": True, "knowledge base": None}
    assert {key: values[key] for key in expected} == expected
    assert set(values["files"]) == {
        "mapping.safetensors",
        "knowledge_base/embeddings-00001-of-00001.safetensors",
        "knowledge_base/entities.parquet",
        "knowledge_base/aliases.parquet",
    }
    assert all(size > 0 for size in values["files"].values())


def test_inspect_for_people(plugin_folder):
    shown = run("inspect", plugin_folder).stdout
    for words in (
        "affine, 8 to 16",
        "looks untrained",
        "cities, 2026-01",
        "5, with 7 names",
        "cc-by-4.0",
        "the plugin",
    ):
        assert words in shown
    assert "knowledge_base/embeddings-00001-of-00001.safetensors  272 B" in shown


def test_inspect_of_a_plugin_that_was_aligned(tmp_path, wordpiece):
    model = tiny.classifier()
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base(), wordpiece, mapping="affine")
    align(plugin, model, wordpiece)
    plugin.save_pretrained(tmp_path)
    assert as_json("inspect", tmp_path)["looks untrained"] is False
    assert "untrained" not in run("inspect", tmp_path).stdout


def test_inspect_of_a_plugin_that_was_trained_for_a_moment(tmp_path):
    plugin = KnowledgePlugin.for_model(tiny.classifier(), tiny.knowledge_base(), mapping="affine")
    plugin.config = replace(plugin.config, training=TrainingConfig("task", steps=2))
    plugin.save_pretrained(tmp_path)
    assert "learned by 'task', too little to be told from untrained" in run("inspect", tmp_path).stdout


def test_a_knowledge_base_is_no_plugin(kb_folder):
    result = run("inspect", kb_folder)
    assert result.exit_code == 1
    assert "holds a knowledge-base, not a knowledge-plugin" in result.stderr.replace("\n", " ")
    assert f"Type: knowledge-plugin kb info {kb_folder}" in result.stderr
    assert "from_pretrained" not in result.stderr


@pytest.mark.parametrize("folder", ["kb_folder", "plugin_folder"])
def test_verify(folder, request):
    folder = request.getfixturevalue(folder)
    result = run("verify", folder)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{folder}: whole")
    assert result.stderr == ""


def test_verify_counts_and_lists(tmp_path):
    hostile.save_plugin(tmp_path)
    hostile.flip(tmp_path / hostile.MAPPING, 0.9)
    hostile.truncate(tmp_path / "knowledge_base" / "aliases.parquet")
    result = run("verify", tmp_path)
    assert result.exit_code == 1
    first, *lines = result.stdout.splitlines()
    assert first.startswith(f"{tmp_path}: damaged, 2 errors and ")
    assert [line.split(": ")[1] for line in lines if line.startswith("  error: ")] == [
        "mapping.safetensors",
        "knowledge_base/aliases.parquet",
    ]
    assert "  warning: config.json: " in result.stdout


def test_verify_json(tmp_path, kb_folder):
    whole = {"artifact": kb_folder, "kind": "knowledge-base", "whole": True, "findings": []}
    assert as_json("verify", kb_folder) == whole
    hostile.save_kb(tmp_path)
    (tmp_path / "entities.parquet").unlink()
    result = run("verify", tmp_path, "--json")
    values = json.loads(result.stdout)
    assert result.exit_code == 1
    assert values["whole"] is False
    assert values["findings"] == [
        {
            "severity": "error",
            "where": "entities.parquet",
            "message": "the file entities.parquet is missing. Download or save the artifact again.",
        }
    ]


def test_one_of_several_in_a_folder(tmp_path):
    for name in ("small", "large"):
        hostile.save_plugin(tmp_path / name)
    assert as_json("inspect", tmp_path, "--subfolder", "small")["kb rows"] == 5
    assert as_json("verify", tmp_path)["kind"] == "knowledge-plugins"
    result = run("inspect", tmp_path)
    assert result.exit_code == 1
    assert "large, small" in result.stderr
