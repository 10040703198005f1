from __future__ import annotations

from benchmarks import profiles


def test_each_hot_path_has_a_table(monkeypatch):
    for name, value in {"ENTITIES": 100, "BATCH": 2, "CALLS": 1}.items():
        monkeypatch.setattr(profiles, name, value)
    found = profiles.measure()
    assert len(found) == 3
    assert all("tottime" in table for table in found.values())
    assert "torch.embedding" in found["look up words and entities"]
