from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from knowledge_plugin import KnowledgeBase
from knowledge_plugin.knowledge_base import lookup
from tests.fuzz.mutations import Choices, edited_bytes, edited_json, edited_safetensors, edited_table
from tests.fuzz.target import FILES, Finding, Target

ENGINES = ["hypothesis", *(["atheris"] if importlib.util.find_spec("atheris") else [])]
ENTITIES = FILES.index("knowledge_base/entities.parquet")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_short_run_finds_nothing(engine):
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--engine", engine, "--runs", "20", "--seed", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-4000:]
    ran = re.search(r"Done (\d+) runs", done.stderr)
    assert ran is not None, done.stderr[-4000:]
    assert int(ran[1]) >= 20


@pytest.fixture
def target(tmp_path, monkeypatch):
    monkeypatch.setattr(lookup, "cached_assets_path", lookup.cached_assets_path)  # which the target replaces
    return Target(tmp_path)


def test_every_seed_is_refused_or_opens(target):
    seeds = target.seeds()
    assert {seed[0] for seed in seeds} == set(range(len(FILES)))
    for seed in seeds:
        target(seed)
    # Whole files open, altered ones do not.
    assert target.opened >= len(FILES)
    assert target.refused >= len(FILES)
    assert target.opened + target.refused == len(seeds)


def fails(error):
    def method(*args):
        raise error

    return method


@pytest.mark.parametrize(
    "error", [IndexError("planted"), RecursionError(), MemoryError(), UnicodeEncodeError("utf-8", "", 0, 1, "")]
)
def test_an_error_that_is_not_ours_is_found(target, monkeypatch, error):
    monkeypatch.setattr(KnowledgeBase, "labels", fails(error))
    with pytest.raises(Finding, match=type(error).__name__):
        target(b"")
        target(bytes([0, 1]))


def test_a_file_outside_of_the_folder_is_found(target, monkeypatch, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "file"
    monkeypatch.setattr(KnowledgeBase, "labels", lambda kb: [outside.write_text("escaped")])
    with pytest.raises(Finding, match=f"open {os.path.realpath(outside)}"):
        target(bytes([0, 1]))


def test_a_reading_outside_of_the_folder_is_found(target, monkeypatch, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "file"
    outside.write_text("secret")
    monkeypatch.setattr(KnowledgeBase, "labels", lambda kb: [outside.read_text()])
    with pytest.raises(Finding, match=f"open {os.path.realpath(outside)}"):
        target(bytes([0, 1]))


def test_a_file_beside_the_folder_is_found(target, monkeypatch):
    monkeypatch.setattr(KnowledgeBase, "labels", lambda kb: [(target.root / "new").write_text("escaped")])
    with pytest.raises(Finding, match=r"files outside of the folder: \{'new'\}"):
        target(bytes([0, 1]))


@pytest.mark.parametrize("edit", [edited_bytes, edited_json, edited_safetensors, edited_table])
def test_the_same_bytes_make_the_same_file(target, edit):
    whole = {edited_json: "config.json", edited_safetensors: "mapping.safetensors"}.get(edit, FILES[ENTITIES])
    data = (target.folder / whole).read_bytes()
    made = [edit(data, Choices(bytes(range(40, 80)))) for _ in range(2)]
    assert made[0] == made[1] != data
