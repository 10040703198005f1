"""The table in the docs is the one that the suite would make."""

from __future__ import annotations

import importlib
import pkgutil
import re
from types import SimpleNamespace

import pytest

import tests.contract
from tests.contract import compatibility
from tests.contract.architectures import ARCHITECTURES
from tests.contract.common import WAYS


def rows() -> set[tuple[str, str]]:
    """Return the first cell of each row of the page, and why it does not work."""
    found = re.findall(
        r"^\| (.+?) \| (?:yes|no) \| \d+ \|(?: (.*?) ?\|)?$", compatibility.TABLE.read_text(), re.MULTILINE
    )
    return {(name, limit) for name, limit in found}


def test_the_page_lists_every_way_and_every_architecture_and_none_fails(request):
    if request.config.getoption("--compatibility"):
        pytest.skip("the page is being made")
    for module in pkgutil.iter_modules(tests.contract.__path__):
        importlib.import_module(f"tests.contract.{module.name}")
    assert rows() == {(way.name, way.limit or "") for way in WAYS} | {(name, "") for name in ARCHITECTURES}
    assert "FAILS" not in compatibility.TABLE.read_text()


def test_a_failing_test_shows_on_the_page():
    def report(passed, *properties):
        return SimpleNamespace(when="call", skipped=False, passed=passed, user_properties=list(properties))

    way = ("way", ["pipeline", "fill-mask", None])
    page = compatibility.render(
        *compatibility.tally([report(True, way), report(False, way), report(True, ("architecture", "bert"))])
    )
    assert "| fill-mask | FAILS | 2 |" in page
    assert "| bert | yes | 1 |" in page
