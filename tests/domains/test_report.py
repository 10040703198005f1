"""What is computed of a matrix, and how it is shown."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from knowledge_plugin.domains import StreamReport

REPORT = StreamReport(
    domains=("a", "b", "c"),
    accuracy={
        "frozen": ((0.9, 0.6, 0.3),) * 3,
        "it": ((0.9, 0.6, 0.3), (0.8, 0.7, 0.5), (0.6, 0.6, 0.6)),
    },
    rows=(100, 100, 100),
    frozen="frozen",
    seed=4,
)


def test_what_the_measures_are():
    assert REPORT.final("it") == pytest.approx(0.6)
    assert REPORT.arrival("it") == pytest.approx((0.7 + 0.6) / 2)
    assert REPORT.backward("it") == pytest.approx(((0.6 - 0.9) + (0.6 - 0.7)) / 2)
    assert REPORT.forward("it") == pytest.approx((0.0 + (0.5 - 0.3)) / 2)
    assert REPORT.gain("it") == pytest.approx(0.0)
    assert REPORT.margin("it") == pytest.approx(1.96 * (3 * 0.24 / 100) ** 0.5 / 3)
    assert (REPORT.backward("frozen"), REPORT.forward("frozen")) == (0, 0)


def test_it_is_shown_as_a_table():
    assert "60.0 ± 5.5" in str(REPORT)
    assert "a -> b -> c" in str(REPORT)
    lines = REPORT.to_markdown().splitlines()
    assert lines[-1] == "| it | 60.0 ± 5.5 | 65.0 | -20.0 | +10.0 | 60.0 | 60.0 | 60.0 |"


def test_it_is_saved_as_json(tmp_path):
    REPORT.save(tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["accuracy"]["it"][1] == [0.8, 0.7, 0.5]
    assert data["systems"]["it"]["backward"] == pytest.approx(-0.2)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_names_are_shown_as_they_are(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    odd = replace(
        REPORT,
        domains=("[old]", "[/b]", "c|d"),
        accuracy={"frozen": REPORT.accuracy["frozen"], "[it]": ((0.5,) * 3,) * 3},
    )
    shown = str(odd)
    assert all(name in shown for name in ("final: [old]", "final: [/b]", "final: c|d", "[it]"))
    assert "\x1b" not in shown
    assert len({line.replace("\\|", "").count("|") for line in odd.to_markdown().splitlines()[2:]}) == 1


def test_what_is_no_number_is_none_in_json(tmp_path):
    replace(REPORT, accuracy={"frozen": ((math.nan,) * 3,) * 3}).save(tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert data["systems"]["frozen"]["final"] is None
