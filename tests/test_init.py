from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import knowledge_plugin

LAZY = {"MapTuningTrainer": "training", "align": "training", "Report": "evaluation", "evaluate": "evaluation"}


def modules_after(code):
    """Run code in a fresh process and return the modules that it has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_rooms_are_loaded_when_they_are_asked_for():
    loaded = modules_after("import knowledge_plugin; knowledge_plugin.KnowledgePlugin")
    assert "knowledge_plugin.plugin" in loaded
    assert not {"knowledge_plugin.training", "knowledge_plugin.evaluation", "transformers.trainer"} & loaded
    assert "transformers.trainer" in modules_after("from knowledge_plugin import MapTuningTrainer")


def test_to_evaluate_is_not_to_load_what_trains_or_draws():
    loaded = modules_after("from knowledge_plugin import evaluate")
    assert "knowledge_plugin.evaluation" in loaded
    assert not {"knowledge_plugin.training", "transformers.trainer", "matplotlib"} & loaded


@pytest.mark.parametrize("name", knowledge_plugin.__all__)
def test_every_public_name_is_there(name):
    assert getattr(knowledge_plugin, name) is not None
    assert name in dir(knowledge_plugin)


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_name_is_the_thing_itself(name):
    room = importlib.import_module(f"knowledge_plugin.{LAZY[name]}")
    assert getattr(knowledge_plugin, name) is getattr(room, name)


def test_import_star():
    names = {}
    exec("from knowledge_plugin import *", names)
    assert set(knowledge_plugin.__all__) <= set(names)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'knowledge_plugin' has no attribute 'MapTuner'"):
        knowledge_plugin.MapTuner
