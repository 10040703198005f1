"""The programs that show what a plugin is worth, small: that they run, and keep their conditions apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

GENERAL = """
import json
from benchmarks import general
settings = general.Settings(min_population=1_000_000, graph_epochs=1, vocabulary=150, width=16, layers=1,
                            lm_epochs=0.1, tuning_epochs=0.1)
found = general.measure(settings, 0)
general.show([found])
print(json.dumps(found))
"""
TRANSFER = """
import json
from benchmarks import transfer
from examples.geography.experiment import Settings
settings = Settings(min_population=1_000_000, graph_epochs=1, fine_tune_epochs=0.25, mlp_epochs=0.5, countries=3,
                    cities=(6, 4, 3))
found = transfer.measure(settings, 0)
transfer.show([found])
print(json.dumps(found))
"""
ALTERNATIVES = """
import json
from benchmarks import alternatives
from examples.geography.experiment import Settings
settings = Settings(min_population=1_000_000, graph_epochs=1, fine_tune_epochs=0.25, mlp_epochs=0.5, countries=3,
                    cities=(6, 4, 3))
found = alternatives.measure(settings, 0)
alternatives.show(found)
print(json.dumps(found))
"""


def run(script: str, folder: Path):
    # A process of its own, in which PyKEEN is loaded before what it cannot be loaded after.
    env = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_general_map_tuning(tmp_path):
    found = run(GENERAL, tmp_path)
    assert set(found["loss"]) == {"none", "country as text", "real", "shuffled", "random"}
    assert all(loss > 0 for loss in found["loss"].values())
    gain, low, high = found["gain"]
    assert low <= gain <= high
    assert gain == pytest.approx(found["loss"]["shuffled"] - found["loss"]["real"], abs=1e-5)


def test_transfer(tmp_path):
    found = run(TRANSFER, tmp_path)
    assert set(found["accuracy"]) == {"tuned against", "full", "lora", "bitfit"}
    for row in found["accuracy"].values():
        assert set(row) == {"none", "tuned", "shuffled", "random", "aligned"}
        assert all(0 <= share <= 1 for share in row.values())


def test_alternatives(tmp_path):
    found = run(ALTERNATIVES, tmp_path)
    ways = [row["way"] for row in found]
    assert ways[0] == "nothing"
    assert sum("BM25" in way or "dense" in way for way in ways) == 4
    assert ways[-3:] == ["plugin, aligned", "plugin, map-tuned", "- on shuffled vectors"]
    assert all(row["sentences_a_second"] > 0 and row["minutes_to_prepare"] >= 0 for row in found)
    assert all(row["seconds_to_add_one"] > 0 for row in found if "LoRA" not in row["way"] and row["way"] != "nothing")
