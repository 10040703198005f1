from __future__ import annotations

from benchmarks import attached, linking
from benchmarks.results import KEYS


def test_every_row_has_a_ratio(monkeypatch):
    monkeypatch.setattr(attached, "ENTITIES", 50)
    monkeypatch.setattr(attached, "LENGTH", 64)
    monkeypatch.setattr(attached, "BATCH", 2)
    rows = attached.rows(rounds=1)
    assert [row["id"] for row in rows] == ["2a", "2b", "6"]
    for row in rows:
        assert tuple(row) == KEYS
        assert row["ratio"] > 0
        assert row["spread"][0] <= row["ratio"] <= row["spread"][1]


def test_words_are_counted(monkeypatch):
    monkeypatch.setattr(linking, "ALIASES", 100)
    (row,) = linking.rows()
    assert row["ours"] > 0
    assert row["met"] == (row["ours"] >= 250_000)
