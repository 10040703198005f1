from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from knowledge_plugin.injection.compilation import forget_compiled_code
from tests import tiny


@pytest.fixture(autouse=True)
def _nothing_compiled():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def test_what_never_was_compiled_is_left_alone(model):
    assert forget_compiled_code(model) is False


def test_compiled_code_is_forgotten_once(model):
    torch.compile(model, backend="eager")(torch.tensor([[1, 2]]))
    assert forget_compiled_code(model) is True
    assert forget_compiled_code(model) is False


def test_a_part_that_was_compiled_counts_too(model):
    model.bert.encoder.layer[0].compile(backend="eager")
    model(torch.tensor([[1, 2]]))
    assert forget_compiled_code(model) is True


def test_code_of_another_class_does_not_count(model):
    torch.compile(torch.nn.Bilinear(2, 2, 2), backend="eager")(torch.ones(1, 2), torch.ones(1, 2))
    assert forget_compiled_code(tiny.classifier()) is False


def test_asking_does_not_load_the_compiler():
    code = """
import sys, torch
from knowledge_plugin.injection.compilation import forget_compiled_code
before = "torch._dynamo" in sys.modules
assert forget_compiled_code(torch.nn.Linear(2, 2)) is False
assert ("torch._dynamo" in sys.modules) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
