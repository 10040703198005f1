"""Plain values, in a file that is whole or not there."""

from __future__ import annotations

import math

import pytest

from knowledge_plugin.reports import finite, save_text


def test_what_is_no_number_is_none_however_deep():
    assert finite({"a": (1.0, math.nan, [math.inf]), "b": "nan"}) == {"a": [1.0, None, [None]], "b": "nan"}


def test_a_failed_save_leaves_what_was_there(tmp_path):
    path = tmp_path / "report.json"
    save_text(path, "first")
    with pytest.raises(UnicodeEncodeError):
        save_text(path, "second \ud800")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
