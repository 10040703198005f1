from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest

from knowledge_plugin import registry
from knowledge_plugin.errors import ConfigError, TrainingError
from knowledge_plugin.registry import find_method, register_method


@pytest.fixture
def _known(monkeypatch):
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'map-tuning'.*found 'mind-reading'"):
        find_method("mind-reading")


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(ConfigError, match="found None"):
        find_method(None)


def test_settings_are_those_of_the_method():
    find_method("kb-attention").check_settings(["every", "top"])
    with pytest.raises(ConfigError, match=r"expected one of 'layers', 'every'.*found 'nearly'"):
        find_method("kb-attention").check_settings(["every", "nearly"])
    with pytest.raises(ConfigError, match="it has none; found 'model'"):
        find_method("map-tuning").check_settings(["model"])
    replace(find_method("memory"), configure=lambda model, kb, mapping, **any: None).check_settings(["any"])


def test_an_objective_of_another_method_is_refused_with_its_methods():
    with pytest.raises(
        TrainingError, match=r"'task' \(of memory\), found 'task-or-refuse', which 'kb-attention' has\.$"
    ):
        find_method("memory").find_objective("task-or-refuse")
    with pytest.raises(TrainingError, match=r"found 'guess'\.$"):
        find_method("memory").find_objective("guess")


@pytest.mark.usefixtures("_known")
def test_a_second_method_of_one_name_is_refused():
    method = replace(find_method("map-tuning"), origin="another")
    with pytest.raises(ConfigError, match="already"):
        register_method(method)


OTHER = replace(find_method("map-tuning"), name="other")


@pytest.mark.usefixtures("_known")
def test_another_package_brings_a_method_by_an_entry_point(monkeypatch):
    entry = EntryPoint("other", f"{__name__}:OTHER", registry.GROUP)
    monkeypatch.setattr(
        registry,
        "entry_points",
        lambda group, name=None: [entry] if group == registry.GROUP and name in (None, "other") else [],
    )
    monkeypatch.setattr(EntryPoint, "load", lambda self: OTHER)
    assert find_method("other") is OTHER
    with pytest.raises(ConfigError, match="'other'"):
        find_method("nobody's")


class _Package:
    name = "their-package"


@pytest.mark.usefixtures("_known")
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("no_such_module:METHOD", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{__name__}:NOT_THERE", "cannot be loaded: AttributeError"),
        (f"{__name__}:__name__", "expected a knowledge_plugin.registry.Method of that name, found str"),
        (f"{__name__}:OTHER", "of that name, found one called 'other'"),
    ],
)
def test_a_broken_entry_point_is_named_with_its_package(monkeypatch, value, says):
    entry = EntryPoint("theirs", value, registry.GROUP)._for(_Package())
    monkeypatch.setattr(registry, "entry_points", lambda group, name=None: [entry] if name in (None, "theirs") else [])
    with pytest.raises(ConfigError, match="'theirs' of their-package") as caught:
        find_method("theirs")
    assert says in str(caught.value)
    assert repr(value) in str(caught.value)
    with pytest.raises(ConfigError, match="'theirs', found 'nobody'"):
        find_method("nobody")
