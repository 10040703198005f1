from __future__ import annotations

from benchmarks import training
from benchmarks.results import KEYS


def test_both_ways_of_a_step_have_the_same_loss(monkeypatch):
    for name, value in {"ENTITIES": 50, "BATCH": 2, "ROUNDS": 1}.items():
        monkeypatch.setattr(training, name, value)
    rows = training.rows()
    assert [row["id"] for row in rows] == ["3", "3a", "3b", "3c", "3d"]
    assert all(tuple(row) == KEYS and row["ours"] > 0 for row in rows)
    difference = float(rows[0]["work"].rsplit(" ", 1)[1])
    assert difference < 1e-4
