"""``--column FIELD=COLUMN``."""

from __future__ import annotations

import pytest
import typer

from knowledge_plugin.cli.columns import column_names


def test_the_first_sign_divides_and_the_last_option_counts():
    assert column_names([" label =a=b", "id=x", "id=y"]) == {"label": "a=b", "id": "y"}
    assert column_names(None) == {}


def test_an_option_without_a_sign_is_refused():
    with pytest.raises(typer.BadParameter, match="expected FIELD=COLUMN, found 'label'"):
        column_names(["label"])
