from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from benchmarks import scale
from benchmarks.results import KEYS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def test_all_rows_are_measured(monkeypatch):
    monkeypatch.setattr(scale, "ROUNDS", 1)
    rows = scale.rows(2_000)
    assert [row["id"] for row in rows] == ["1a", "1b", "4a", "4b", "5a", "5b", "5c"]
    for row in rows:
        assert set(row) == set(KEYS)
        assert row["ours"] > 0
        assert (row["published"] is None) == (row["ratio"] is None)
        assert row["met"] is None  # budgets are about millions
        assert row["budget"].endswith("at 4.8 M")


def test_memory_is_that_of_the_work_alone_however_large_its_parent_is():
    ballast = np.ones(10**8)  # 0.8 GB
    command = "from benchmarks.scale import _peak; print(_peak())"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert float(done.stdout) * 1e6 < ballast.nbytes
