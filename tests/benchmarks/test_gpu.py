from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.results import KEYS

ROOT = Path(__file__).parents[2]


def test_the_same_code_runs_small_on_a_cpu(tmp_path):
    # A process of its own: it changes settings of the compiler.
    out = tmp_path / "gpu.json"
    env = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--tiny", "--out", str(out)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())
    assert [row["id"] for row in rows] == ["1a", "1b", "2", "3", "4a", "4b", "5"]
    assert all(set(row) == set(KEYS) and row["ratio"] > 0 for row in rows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so(capsys):
    gpu.main([])
    assert capsys.readouterr().out.startswith("Skipped: there is no GPU here.")
