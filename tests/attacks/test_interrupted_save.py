"""Whatever stops a save, the folder holds the old artifact or the new one, whole, and nothing beside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress

import pytest

from knowledge_plugin import KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import SaveError
from tests import tiny
from tests.attacks.hostile import contents, make_plugin, save_kb, save_plugin
from tests.attacks.interruption import interrupted_at, steps_of

OPEN = {"kb": KnowledgeBase, "plugin": KnowledgePlugin}


def make(kind, seed):
    """A knowledge base or a plugin in memory, that differs by its seed."""
    return tiny.knowledge_base(seed=seed) if kind == "kb" else make_plugin(seed)


def shards_of(monkeypatch, size):
    monkeypatch.setattr("knowledge_plugin.knowledge_base.embedding_index.MAX_SHARD_BYTES", size)


def full(*args):
    return OSError(28, "No space left on device")


def raiser(error):
    """Raises a new error of a kind each time."""

    def act():
        raise error()

    return act


def whole(kind, folder):
    opened = OPEN[kind].from_pretrained(folder)
    (opened if kind == "kb" else opened.knowledge_base).verify()


@pytest.mark.parametrize(
    ("kind", "error", "old_shard", "new_shard"),
    [
        ("kb", KeyboardInterrupt, 72, 10**9),
        ("kb", full, 10**9, 72),
        ("plugin", KeyboardInterrupt, 10**9, 72),
        ("plugin", full, 72, 10**9),
        ("plugin", MemoryError, 72, 72),
    ],
)
def test_an_interruption_at_every_step(tmp_path, monkeypatch, kind, error, old_shard, new_shard):
    shards_of(monkeypatch, old_shard)
    make(kind, 0).save_pretrained(tmp_path / "old")
    old = contents(tmp_path / "old")
    shards_of(monkeypatch, new_shard)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    steps = steps_of(lambda: make(kind, 1).save_pretrained(tmp_path / "new"), monkeypatch)
    new = contents(tmp_path / "new")
    seen = []
    saved = make(kind, 1)
    for step in range(1, steps + 1):
        folder = tmp_path / f"at {step}"
        shutil.copytree(tmp_path / "old", folder)
        with interrupted_at(step, raiser(error), monkeypatch), suppress(SaveError if error is full else error):
            (make(kind, 1) if kind == "kb" else saved).save_pretrained(folder)
        found = {name: data for name, data in contents(folder).items() if not name.startswith(".saving-")}
        assert found in (old, new), f"neither old nor new after an interruption at step {step}"
        seen.append(found == new)
    whole(kind, tmp_path / "old")
    whole(kind, tmp_path / "new")
    assert steps > 30
    assert seen.count(False) > 20
    assert seen.count(True) >= 1


def interrupted_saves(saved, folder_at, error, steps, monkeypatch):
    """Save with an error at one step after the other, until there are no more; yield the folder after each error."""
    for step in steps:
        folder = folder_at(step)
        with interrupted_at(step, raiser(error), monkeypatch):
            try:
                saved.save_pretrained(folder)
                return
            except (SaveError, KeyboardInterrupt):
                pass
        yield folder


@pytest.mark.parametrize("kind", OPEN)
def test_an_error_leaves_no_stray_files(tmp_path, monkeypatch, kind):
    make(kind, 0).save_pretrained(tmp_path)
    before = contents(tmp_path)
    for _ in interrupted_saves(make(kind, 1), lambda step: tmp_path, full, range(3, 200, 4), monkeypatch):
        assert set(contents(tmp_path)) == set(before)
        assert not list(tmp_path.glob(".saving-*"))


@pytest.mark.parametrize("kind", OPEN)
def test_a_first_save_that_fails_leaves_no_file(tmp_path, monkeypatch, kind):
    folders = (make(kind, 0), lambda step: tmp_path / f"at {step}", KeyboardInterrupt, range(2, 200, 3), monkeypatch)
    for folder in interrupted_saves(*folders):
        if contents(folder):
            whole(kind, folder)


def test_after_an_interruption_the_knowledge_base_goes_on_as_it_was(tmp_path, monkeypatch):
    kb = tiny.knowledge_base()
    with interrupted_at(12, raiser(KeyboardInterrupt), monkeypatch), pytest.raises(KeyboardInterrupt):
        kb.save_pretrained(tmp_path)
    assert kb["geo:york"].label == "York"
    kb.save_pretrained(tmp_path)
    whole("kb", tmp_path)


KILLED = """
import json, os, shutil, signal, sys
from pathlib import Path
from pytest import MonkeyPatch
from tests.attacks.hostile import contents
from tests.attacks.interruption import interrupted_at
from tests.attacks.test_interrupted_save import OPEN, make, shards_of

def kill_at_every_step(root, kind):
    patch = MonkeyPatch()
    shards_of(patch, 72)
    make(kind, 0).save_pretrained(root / "old")
    old = contents(root / "old")
    shards_of(patch, 10**9)
    saved = make(kind, 1)
    shutil.copytree(root / "old", root / "new")
    make(kind, 1).save_pretrained(root / "new")
    new = contents(root / "new")
    counts, step, killed = {"old": 0, "new": 0, "wrong": []}, 0, True
    while killed:
        step += 1
        folder = root / f"at {step}"
        shutil.copytree(root / "old", folder)
        if (child := os.fork()) == 0:
            signal.alarm(30)
            with interrupted_at(step, lambda: os.kill(os.getpid(), signal.SIGKILL), patch):
                saved.save_pretrained(folder)
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        OPEN[kind].from_pretrained(folder)
        found = {name: data for name, data in contents(folder).items() if not name.startswith(".saving-")}
        # A shard that nobody lists any more may be left over.
        found_new = {name: data for name, data in found.items() if name in new}
        extra = [name for name in found if name not in new and "embeddings-" not in name]
        if found == old:
            counts["old"] += 1
        elif found_new == new and not extra:
            counts["new"] += 1
        else:
            counts["wrong"].append([step, sorted(found)])
    return counts

print(json.dumps(kill_at_every_step(Path(sys.argv[1]), "plugin")))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_killed_at_every_step_leaves_an_artifact_that_opens(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["wrong"] == []
    assert counts["old"] > 20
    assert counts["new"] > 2


def test_a_save_over_a_half_done_one_finishes_it_first(tmp_path):
    save_kb(tmp_path / "kb")
    staging = tmp_path / "kb" / ".saving-dead"
    (staging / "new").mkdir(parents=True)
    (staging / "ready").touch()
    (tmp_path / "kb" / "config.json").rename(staging / "new" / "config.json")
    save_kb(tmp_path / "kb", seed=3)
    whole("kb", tmp_path / "kb")
    assert not list((tmp_path / "kb").glob(".saving-*"))


def test_what_was_still_being_written_is_left_alone(tmp_path):
    save_plugin(tmp_path)
    (tmp_path / ".saving-other" / "new").mkdir(parents=True)
    (tmp_path / ".saving-other" / "new" / "config.json").write_text("half")
    whole("plugin", tmp_path)
    assert (tmp_path / ".saving-other" / "new" / "config.json").read_text() == "half"
