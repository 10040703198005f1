from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys

import pytest

from knowledge_plugin.config import FileConfig
from knowledge_plugin.errors import ArtifactError, SaveError
from knowledge_plugin.hub import folder as folder_module
from knowledge_plugin.hub.folder import (
    check_sizes,
    check_sums,
    checksum,
    describe_files,
    finish_save,
    inside,
    staged,
)
from knowledge_plugin.knowledge_base.embedding_index import SHARD_PATTERN

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def write(folder, **files):
    for name, text in files.items():
        (folder / name).write_text(text)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_is_made_with_its_parents(tmp_path):
    with staged(tmp_path / "a" / "b") as beside:
        (beside / "config.json").write_text("new")
    assert contents(tmp_path / "a" / "b") == {"config.json": "new"}


def test_nothing_shows_before_the_end(tmp_path):
    write(tmp_path, **{"config.json": "old"})
    with staged(tmp_path) as beside:
        (beside / "config.json").write_text("new")
        assert (tmp_path / "config.json").read_text() == "old"
    assert contents(tmp_path) == {"config.json": "new"}


def test_files_of_other_names_are_kept(tmp_path):
    write(tmp_path, **{"config.json": "old", "notes.txt": "mine"})
    with staged(tmp_path) as beside:
        (beside / "config.json").write_text("new")
    assert contents(tmp_path) == {"config.json": "new", "notes.txt": "mine"}


def test_obsolete_files_go(tmp_path):
    write(tmp_path, **{"shard-1": "old", "shard-2": "old", "other": "mine", "config.json": OURS})
    with staged(tmp_path, replaces=("shard-*",)) as beside:
        write(beside, **{"shard-1": "new", "config.json": OURS})
    assert contents(tmp_path) == {"shard-1": "new", "other": "mine", "config.json": OURS}


def test_subfolders_are_moved_too(tmp_path):
    with staged(tmp_path) as beside:
        (beside / "inner").mkdir()
        (beside / "inner" / "config.json").write_text("new")
    assert contents(tmp_path) == {"inner/config.json": "new"}


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_an_error_while_writing_leaves_the_old_files(tmp_path, error):
    write(tmp_path, **{"config.json": "old"})
    with pytest.raises(type(error)), staged(tmp_path) as beside:
        (beside / "config.json").write_text("half")
        raise error
    assert contents(tmp_path) == {"config.json": "old"}


def test_an_os_error_becomes_a_save_error(tmp_path):
    with pytest.raises(SaveError, match="No space left"), staged(tmp_path):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", ["file", "file/inner"])
def test_a_file_is_no_place_for_an_artifact(tmp_path, name):
    write(tmp_path, file="mine")
    with pytest.raises(SaveError, match=r"could not save .*file is a file\. Name a folder"), staged(tmp_path / name):
        pass
    assert contents(tmp_path) == {"file": "mine"}


OURS = '{"library_name": "knowledge-plugin", "artifact": "knowledge-base"}'
OTHERS = {
    "a knowledge-plugin": '{"library_name": "knowledge-plugin", "artifact": "knowledge-plugin"}',
    "a transformers model (bert)": '{"architectures": ["BertModel"], "model_type": "bert"}',
    "something of another library (spacy)": '{"library_name": "spacy"}',
    "something else": '{"a": 1}',
    "something else (no object)": "[1]",
    "something else (no JSON)": "half a {",
}


@pytest.mark.parametrize("found", OTHERS)
@pytest.mark.parametrize("inner", ["", "knowledge_base"])
def test_the_artifact_of_another_kind_is_not_overwritten(tmp_path, found, inner):
    folder = tmp_path / inner
    folder.mkdir(exist_ok=True)
    write(folder, **{"config.json": OTHERS[found], "shard-1": "mine", "README.md": "mine"})
    before = contents(tmp_path)
    with pytest.raises(SaveError) as caught, staged(tmp_path, replaces=("shard-*",)) as beside:
        (beside / inner).mkdir(exist_ok=True)
        write(beside / inner, **{"config.json": OURS, "README.md": "new", "data": "new"})
    assert f"{folder / 'config.json'} belongs to {found}" in str(caught.value)
    assert f"{tmp_path}-new" in str(caught.value)
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".saving-*"))


def test_an_artifact_of_the_same_kind_is_replaced(tmp_path):
    write(tmp_path, **{"config.json": OURS})
    with staged(tmp_path) as beside:
        write(beside, **{"config.json": OURS + "\n"})
    assert contents(tmp_path) == {"config.json": OURS + "\n"}


def test_a_config_of_gigabytes_is_not_read(tmp_path):
    with open(tmp_path / "config.json", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(SaveError, match="belongs to something else"), staged(tmp_path) as beside:
        write(beside, **{"config.json": OURS})


def test_a_folder_in_the_way_of_a_file_leaves_the_old_files(tmp_path):
    write(tmp_path, **{"config.json": "old"})
    (tmp_path / "data" / "mine").mkdir(parents=True)
    with pytest.raises(SaveError), staged(tmp_path) as beside:
        write(beside, **{"a": "new", "data": "new", "config.json": "new"})
    assert contents(tmp_path) == {"config.json": "old"}


def test_two_saves_at_a_time_do_not_mix(tmp_path):
    with staged(tmp_path) as first, staged(tmp_path) as second:
        write(first, **{"config.json": "first"})
        write(second, **{"config.json": "second"})
    assert contents(tmp_path) == {"config.json": "first"}


def test_checksum(tmp_path):
    data = os.urandom(3 * 2**20 + 17)
    (tmp_path / "file").write_bytes(data)
    assert checksum(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_described_files_pass_the_checks(tmp_path):
    write(tmp_path, a="1", b="")
    files = describe_files(tmp_path, ["a", "b"])
    assert files["a"] == FileConfig(1, hashlib.sha256(b"1").hexdigest())
    check_sizes(tmp_path, files)
    check_sums(tmp_path, files)


def test_a_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match="the file a is missing"):
        check_sizes(tmp_path, {"a": FileConfig(1, "0" * 64)})


def test_a_truncated_file_shows_in_its_size(tmp_path):
    write(tmp_path, a="12")
    files = describe_files(tmp_path, ["a"])
    write(tmp_path, a="1")
    with pytest.raises(ArtifactError, match="has 1 bytes, but the config declares 2"):
        check_sizes(tmp_path, files)


def test_an_altered_file_shows_in_its_sum(tmp_path):
    write(tmp_path, a="12")
    files = describe_files(tmp_path, ["a"])
    write(tmp_path, a="13")
    check_sizes(tmp_path, files)
    with pytest.raises(ArtifactError, match="altered"):
        check_sums(tmp_path, files)


@pytest.mark.parametrize("name", ["a", "a.b", "inner/a", "..a", "a..b", ".hidden"])
def test_names_inside(tmp_path, name):
    assert inside(tmp_path, name).is_relative_to(tmp_path)


OUTSIDE = [
    "",
    "/etc/passwd",
    "../a",
    "a/../../b",
    "..",
    ".",
    "a/./b",
    "a//b",
    "a/",
    "\\a",
    "..\\a",
    "a\\..\\..\\b",
    "C:a",
    "C:\\a",
    "//host/share",
    "a\0b",
    "file:///a",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_outside(tmp_path, name):
    with pytest.raises(ArtifactError, match="outside"):
        inside(tmp_path, name)


def test_a_name_longer_than_any_file_system_allows(tmp_path):
    with pytest.raises(ArtifactError):
        check_sizes(tmp_path, {"a" * 5000: FileConfig(1, "0" * 64)})


def test_a_save_that_a_reader_finished_is_not_undone(tmp_path, monkeypatch):
    write(tmp_path, **{"config.json": OURS, "old": "old"})

    def reader_comes_first(new, target, names):
        monkeypatch.undo()  # the reader moves files as ever
        finish_save(target)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), staged(tmp_path) as beside:
        write(beside, **{"config.json": OURS + " ", "data": "new"})
        monkeypatch.setattr(folder_module, "_move", reader_comes_first)
    assert contents(tmp_path) == {"config.json": OURS + " ", "data": "new", "old": "old"}


def test_files_that_only_look_like_shards_stay(tmp_path):
    write(tmp_path, **{"embeddings-train-of-imagenet.safetensors": "mine"})
    with staged(tmp_path, replaces=(SHARD_PATTERN,)) as beside:
        write(beside, **{"config.json": OURS})
    assert "embeddings-train-of-imagenet.safetensors" in contents(tmp_path)


@pytest.mark.parametrize("inner", ["", "knowledge_base"])
@pytest.mark.parametrize("standing", ["data", "shard-7"])
def test_a_file_of_somebody_else_is_not_overwritten(tmp_path, inner, standing):
    """Without a config of ours beside it, nothing says that it is ours."""
    folder = tmp_path / inner
    folder.mkdir(exist_ok=True)
    write(folder, **{standing: "mine", "notes.txt": "mine"})
    if inner:
        write(tmp_path, **{"config.json": OURS})
    before = contents(tmp_path)
    with (
        pytest.raises(SaveError) as caught,
        staged(tmp_path, replaces=("shard-*", "knowledge_base/shard-*")) as beside,
    ):
        (beside / inner).mkdir(exist_ok=True)
        write(beside, **{"config.json": OURS})
        write(beside / inner, **{"config.json": OURS, "data": "new"})
    assert f"{folder / standing} was not written by this package" in str(caught.value)
    assert f"{tmp_path}-new" in str(caught.value)
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".saving-*"))


def test_a_readme_is_no_reason_to_refuse(tmp_path):
    write(tmp_path, **{"README.md": "what to do with it is decided where the card is written"})
    with staged(tmp_path) as beside:
        write(beside, **{"config.json": OURS, "README.md": "new"})
    assert contents(tmp_path) == {"config.json": OURS, "README.md": "new"}


SAVING = """
import os, sys
from knowledge_plugin.hub.folder import staged

with staged(sys.argv[1]) as beside:
    (beside / "data").write_text("half")
    print("saving", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def saving(tmp_path):
    """Another process that is in the midst of a save."""
    arguments = [sys.executable, "-c", SAVING, str(tmp_path)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "saving\n"
    yield process
    process.kill()
    process.communicate()


def save(folder):
    with staged(folder) as beside:
        write(beside, **{"config.json": OURS})


def staging_folders(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(fcntl is None, reason="needs file locks")
def test_what_a_killed_process_left_is_removed_by_the_next_save(tmp_path, saving):
    assert len(staging_folders(tmp_path)) == 1
    saving.kill()
    saving.wait()
    assert len(staging_folders(tmp_path)) == 1
    save(tmp_path)
    assert contents(tmp_path) == {"config.json": OURS}
    assert staging_folders(tmp_path) == []


def test_a_save_that_goes_on_elsewhere_is_left_alone(tmp_path, saving):
    standing = staging_folders(tmp_path)
    save(tmp_path)
    assert staging_folders(tmp_path) == standing
    saving.communicate()
    assert saving.returncode == 0
    assert contents(tmp_path) == {"config.json": OURS, "data": "half"}
    assert staging_folders(tmp_path) == []


def test_a_save_of_the_same_process_is_left_alone(tmp_path):
    with staged(tmp_path) as outer:
        save(tmp_path)
        write(outer, **{"data": "mine"})
    assert contents(tmp_path) == {"config.json": OURS, "data": "mine"}


@pytest.mark.parametrize("trace", ["no lock", "of another machine", "ready", "a link"])
def test_what_may_be_alive_is_not_removed(tmp_path, trace):
    left = tmp_path / ".saving-left"
    (left / "new").mkdir(parents=True)
    write(left / "new", data="half")
    if trace != "no lock":
        write(left, lock="another machine" if trace == "of another machine" else socket.gethostname())
    if trace == "ready":  # a reader without the right to write has left it; the files are needed
        (left / "ready").touch()
        (left / "new").rename(tmp_path / "elsewhere")
        (left / "new").symlink_to(tmp_path / "elsewhere")
    if trace == "a link":
        left.rename(tmp_path / "elsewhere")
        left.symlink_to(tmp_path / "elsewhere")
    save(tmp_path)
    assert (left / "new" / "data").read_text() == "half"


def test_without_file_locks_nothing_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "fcntl", None)
    (tmp_path / ".saving-left").mkdir()
    write(tmp_path / ".saving-left", lock=socket.gethostname())
    save(tmp_path)
    assert staging_folders(tmp_path) == [".saving-left"]


def test_a_disk_without_locks_can_be_saved_to(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(folder_module.fcntl, "flock", refuse)
    save(tmp_path)
    assert contents(tmp_path) == {"config.json": OURS}
    assert staging_folders(tmp_path) == []
