from __future__ import annotations

from benchmarks import growth


def test_each_series_has_a_point_for_each_size(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "ROWS", (10, 1_000))
    monkeypatch.setattr(growth, "ALIASES", (10, 1_000))
    monkeypatch.setattr(growth, "MENTIONS", (0, 2))
    monkeypatch.setattr(growth, "BATCHES", (1, 2))
    series = growth.measure(entities=50, rounds=1)
    assert [[size for size, _ in points] for points in series.values()] == [[10, 1_000]] * 3 + [[0, 2], [1, 2]]
    assert all(cost > 0 for points in series.values() for _, cost in points)
    path = growth.plot(series, tmp_path / "new" / "growth.png")
    assert path.read_bytes().startswith(b"\x89PNG")
