from __future__ import annotations

import json
import shutil

import pytest

from knowledge_plugin import KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import ArtifactError, SaveError
from tests import tiny
from tests.attacks.hostile import contents, make_plugin, save_kb, save_plugin


def peft(folder):
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "user/base"})
    )
    (folder / "adapter_model.safetensors").write_bytes(b"")


FOLDERS = {
    "empty": lambda folder: None,
    "PEFT": peft,
    "a transformers model": lambda folder: tiny.classifier().save_pretrained(folder),
    "a tokenizer": lambda folder: tiny.tokenizer("wordpiece").save_pretrained(folder),
    "a README alone": lambda folder: (folder / "README.md").write_text("---\nlibrary_name: knowledge-plugin\n---\n"),
    "code alone": lambda folder: (folder / "plugin.py").write_text("raise SystemExit"),
}


@pytest.mark.parametrize("cls", [KnowledgeBase, KnowledgePlugin])
@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_of_something_else(tmp_path, kind, cls):
    FOLDERS[kind](tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ArtifactError, match="expected") as caught:
        cls.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert contents(tmp_path) == before


def test_a_knowledge_base_where_a_plugin_is_expected(tmp_path):
    folder = save_kb(tmp_path)
    with pytest.raises(ArtifactError, match="holds a knowledge-base, not a knowledge-plugin") as caught:
        KnowledgePlugin.from_pretrained(folder)
    assert str(caught.value).endswith(f"Type: KnowledgeBase.from_pretrained({str(folder)!r})")


def test_a_plugin_where_a_knowledge_base_is_expected(tmp_path):
    with pytest.raises(ArtifactError, match="holds a knowledge-plugin, not a knowledge-base"):
        KnowledgeBase.from_pretrained(save_plugin(tmp_path))


def test_a_plugin_without_its_knowledge_base(tmp_path):
    save_plugin(tmp_path)
    (tmp_path / "knowledge_base").rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="knowledge_base"):
        KnowledgePlugin.from_pretrained(tmp_path)


def test_a_plugin_with_another_plugin_in_place_of_its_knowledge_base(tmp_path):
    save_plugin(tmp_path)
    shutil.copytree(save_plugin(tmp_path / "other"), tmp_path / "knowledge_base", dirs_exist_ok=True)
    with pytest.raises(ArtifactError):
        KnowledgePlugin.from_pretrained(tmp_path)


def test_the_config_of_another_library(tmp_path):
    save_kb(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text()) | {"library_name": "transformers"}
    (tmp_path / "config.json").write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match="another library"):
        KnowledgeBase.from_pretrained(tmp_path)


ARTIFACTS = {"kb": tiny.knowledge_base, "plugin": make_plugin}
WITH_CONFIG = {
    "a transformers model": FOLDERS["a transformers model"],
    "a plugin": save_plugin,
    "a knowledge base": save_kb,
}


@pytest.mark.parametrize(
    ("saved", "standing"),
    [
        ("kb", "a transformers model"),
        ("kb", "a plugin"),
        ("plugin", "a transformers model"),
        ("plugin", "a knowledge base"),
    ],
)
def test_what_stands_in_the_folder_is_not_destroyed(tmp_path, saved, standing):
    WITH_CONFIG[standing](tmp_path)
    before = contents(tmp_path)
    with pytest.raises(SaveError, match="belongs to a ") as caught:
        ARTIFACTS[saved]().save_pretrained(tmp_path)
    assert f"{tmp_path}-new" in str(caught.value)
    assert contents(tmp_path) == before
