from __future__ import annotations

import sys

import matplotlib
import pytest
from matplotlib import image, pyplot

from knowledge_plugin.errors import MissingDependencyError
from tests.evaluation.test_report import report, results


def test_a_picture(tmp_path):
    report().plot(tmp_path / "report.png")
    pixels = image.imread(tmp_path / "report.png")
    assert pixels.shape[0] > 200
    assert pixels.shape[1] > 800
    assert [path.name for path in tmp_path.iterdir()] == ["report.png"]


def test_the_bars_are_as_long_as_the_values(tmp_path):
    """In the SVG, whose text is paths: each bar is a rectangle."""
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        report(results=results() + results("unseen", 40)).plot(tmp_path / "report.svg")
    text = (tmp_path / "report.svg").read_text()
    for label in ("nothing attached", "the plugin", "shuffled vectors", "60.0", "85.0", "45.0", "unseen entities"):
        assert f">{label}<" in text


def test_figures_that_are_no_numbers(tmp_path):
    odd = [r.__class__(r.condition, r.part, float("nan"), None, None, r.rows) for r in results()]
    report(results=tuple(odd)).plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 1000


def test_open_figures_and_the_backend_of_others_are_left_alone(tmp_path):
    backend, figures = matplotlib.get_backend(), pyplot.get_fignums()
    report().plot(tmp_path / "report.png")
    assert (matplotlib.get_backend(), pyplot.get_fignums()) == (backend, figures)


def test_matplotlib_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'knowledge-plugin\[evaluation\]'"):
        report().plot(tmp_path / "report.png")
    assert list(tmp_path.iterdir()) == []
