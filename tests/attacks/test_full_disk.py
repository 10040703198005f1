"""No space left while saving: a real full disk where this process may mount one, and limits where it may not."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess

import pytest
import torch

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import SaveError
from tests import tiny
from tests.attacks.hostile import contents, save_kb, save_plugin


@pytest.fixture(scope="module")
def mounted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no tmpfs here: {done.stderr.decode(errors='replace').strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(mounted):
    """A disk of one megabyte, emptied after each test."""
    yield mounted
    for path in mounted.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def fill(disk, leave):
    """Fill the disk but for some bytes."""
    free = shutil.disk_usage(disk).free - leave
    if free > 0:
        (disk / "filler").write_bytes(bytes(free))


def large_kb(n=4_000, dim=64):
    entities = [Entity(f"x:{i}", f"name {i}") for i in range(n)]
    return KnowledgeBase.from_entities(entities, torch.randn(n, dim), name="large")


def check_untouched(folder, before):
    """The old files are as they were, and nothing else is there."""
    assert contents(folder) == before
    assert not list(folder.glob(".saving-*"))


def test_a_disk_that_is_too_small_for_the_vectors(disk):
    folder = save_kb(disk / "kb")
    before = contents(folder)
    with pytest.raises(SaveError, match="free"):
        large_kb().save_pretrained(folder)
    check_untouched(folder, before)
    KnowledgeBase.from_pretrained(folder).verify()


@pytest.mark.parametrize("leave", [0, 4096, 8192, 12_288, 16_384, 20_480, 24_576])
def test_a_disk_that_is_full_after_some_of_the_files(disk, leave):
    folder = save_kb(disk / "kb")
    before = contents(folder)
    fill(disk, leave)
    other = tiny.knowledge_base(seed=1)
    try:
        other.save_pretrained(folder)
    except SaveError:
        check_untouched(folder, before)
    KnowledgeBase.from_pretrained(folder).verify()
    (disk / "filler").unlink()
    other.save_pretrained(folder)
    assert torch.equal(KnowledgeBase.from_pretrained(folder).vectors([0]), other.vectors([0]))


@pytest.mark.parametrize("leave", [0, 8192, 20_480, 32_768])
def test_a_plugin_on_a_full_disk(disk, leave):
    folder = save_plugin(disk / "plugin")
    before = contents(folder)
    fill(disk, leave)
    try:
        KnowledgePlugin.from_pretrained(folder).save_pretrained(folder)
    except SaveError:
        check_untouched(folder, before)
    KnowledgePlugin.from_pretrained(folder).knowledge_base.verify()


def test_a_first_save_on_a_full_disk_leaves_no_files(disk):
    with pytest.raises(SaveError):
        large_kb().save_pretrained(disk / "kb")
    assert contents(disk) == {}


@pytest.fixture
def largest_file():
    """Sets the size that a file may have, for this process; beyond it a write fails with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [0, 100, 500, 1000])
@pytest.mark.parametrize(("save", "kind"), [(save_kb, "kb"), (save_plugin, "plugin")])
def test_files_that_may_not_grow(tmp_path, largest_file, save, kind, size):
    folder = save(tmp_path / kind)
    before = contents(folder)
    saved = tiny.knowledge_base(seed=1) if kind == "kb" else KnowledgePlugin.from_pretrained(folder)
    largest_file(size)
    with pytest.raises(SaveError):
        saved.save_pretrained(folder)
    largest_file(resource.RLIM_INFINITY)
    check_untouched(folder, before)
