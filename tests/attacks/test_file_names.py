"""File names of a config that lead elsewhere: nothing outside the folder is read or written."""

from __future__ import annotations

import builtins
import json
import os

import pytest

from knowledge_plugin import KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import ArtifactError, ConfigError
from tests.attacks.hostile import SHARD, contents, read_json, save_kb, save_plugin

OUTSIDE = [
    "{outside}",
    "../victim",
    "a/../../victim",
    "..\\victim",
    "C:\\victim",
    "c:victim",
    "\\\\host\\victim",
    "./config.json",
    "a\0b",
    "",
]


@pytest.fixture
def place(tmp_path):
    (tmp_path / "victim").write_text("secret")
    return tmp_path


def listed_as(folder, name):
    data = read_json(folder)
    data["files"][name] = {"size": 6, "sha256": "0" * 64}
    (folder / "config.json").write_text(json.dumps(data))


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(("save", "cls"), [(save_kb, KnowledgeBase), (save_plugin, KnowledgePlugin)])
def test_nothing_outside_is_opened(place, monkeypatch, save, cls, name):
    folder = save(place / "artifact")
    listed_as(folder, name.format(outside=place / "victim"))
    opened, real = [], builtins.open
    monkeypatch.setattr(builtins, "open", lambda file, *a, **k: (opened.append(str(file)), real(file, *a, **k))[1])
    with pytest.raises(ArtifactError):
        cls.from_pretrained(folder)
    assert not any("victim" in file for file in opened)
    assert (place / "victim").read_text() == "secret"


@pytest.mark.parametrize("name", [f"../{SHARD}", f"sub/{SHARD}", SHARD.replace("/", "\\"), f"..\\{SHARD}"])
def test_shards_of_other_folders(place, name):
    folder = save_kb(place / "artifact")
    (folder / SHARD).rename(place / SHARD)
    data = read_json(folder)
    data["files"][name] = data["files"].pop(SHARD)
    (folder / "config.json").write_text(json.dumps(data))
    with pytest.raises(ArtifactError):
        KnowledgeBase.from_pretrained(folder)


@pytest.mark.parametrize("name", ["a" * 5000, "a/" * 2000 + "b", "\U0010ffff", "con", "a\nb"])
def test_strange_names(place, name):
    folder = save_kb(place / "artifact")
    listed_as(folder, name)
    with pytest.raises(ArtifactError, match="missing"):
        KnowledgeBase.from_pretrained(folder)


def test_a_name_that_is_no_unicode(place):
    folder = save_kb(place / "artifact")
    listed_as(folder, "\ud800")
    with pytest.raises(ConfigError, match="Unicode"):
        KnowledgeBase.from_pretrained(folder)


def test_other_files_that_a_config_lists_are_not_copied_along(place):
    folder = save_kb(place / "artifact")
    (folder / "extra").mkdir()
    for name in ("evil.pkl", "extra/file", "README.md"):
        (folder / name).write_text("secret")
        listed_as(folder, name)
    KnowledgeBase.from_pretrained(folder).save_pretrained(place / "copy")
    assert not {"evil.pkl", "extra/file"} & set(contents(place / "copy"))
    KnowledgeBase.from_pretrained(place / "copy").verify()


def test_a_config_that_is_a_folder_or_a_pipe(place):
    folder = save_kb(place / "artifact")
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    with pytest.raises(ArtifactError, match="expected a file"):
        KnowledgeBase.from_pretrained(folder)
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    with pytest.raises(ArtifactError, match="expected a file"):
        KnowledgeBase.from_pretrained(folder)


def test_a_file_that_is_a_pipe_is_not_waited_for(place):
    folder = save_kb(place / "artifact")
    (folder / "entities.parquet").unlink()
    os.mkfifo(folder / "entities.parquet")
    with pytest.raises(ArtifactError):
        KnowledgeBase.from_pretrained(folder)


@pytest.mark.parametrize("link", ["new", "staging", "inner"])
def test_a_half_done_save_of_a_stranger_moves_nothing_outside(place, link):
    folder, victim = save_plugin(place / "artifact"), place / "elsewhere"
    (victim / "new").mkdir(parents=True)
    (victim / "ready").touch()
    for file in (victim / "config.json", victim / "new" / "config.json"):
        file.write_text("mine")
    staging = folder / ".saving-evil"
    if link == "staging":
        staging.symlink_to(victim)
    else:
        staging.mkdir()
        (staging / "ready").touch()
        if link == "new":
            (staging / "new").symlink_to(victim / "new")
        else:
            (folder / "inner").symlink_to(victim)
            (staging / "new" / "inner").mkdir(parents=True)
            (staging / "new" / "inner" / "config.json").write_text("evil")
    before = contents(victim)
    KnowledgePlugin.from_pretrained(folder)
    assert contents(victim) == before
