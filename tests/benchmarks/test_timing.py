from __future__ import annotations

from benchmarks.timing import alternate, ratios


def test_every_way_runs_in_every_round():
    calls = {"a": 0, "b": 0}

    def count(name):
        calls[name] += 1

    seconds = alternate({"a": lambda: count("a"), "b": lambda: count("b")}, rounds=2)
    assert {name: len(found) for name, found in seconds.items()} == {"a": 2, "b": 2}
    assert min(calls.values()) > 3  # warmed up, and repeated within a round
    assert all(value > 0 for found in seconds.values() for value in found)


def test_ratios_are_of_neighbours():
    assert ratios([1.0, 4.0], [2.0, 2.0]) == [0.5, 2.0]
