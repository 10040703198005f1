from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from knowledge_plugin.injection.compilation import forget_compiled_code


@pytest.fixture(autouse=True)
def _nothing_compiled():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def test_where_nothing_was_compiled_nothing_is_done():
    assert forget_compiled_code() is False


def test_compiled_code_is_forgotten_once(model):
    torch.compile(model, backend="eager")(torch.tensor([[1, 2]]))
    assert forget_compiled_code() is True
    assert forget_compiled_code() is False


def test_a_part_that_was_compiled_counts_too(model):
    model.bert.encoder.layer[0].compile(backend="eager")
    model(torch.tensor([[1, 2]]))
    assert forget_compiled_code() is True


def test_a_function_that_calls_a_model_counts_too(model):
    torch.compile(lambda ids: model(ids).logits, backend="eager")(torch.tensor([[1, 2]]))
    assert forget_compiled_code() is True


def test_asking_does_not_load_the_compiler():
    code = """
import sys, torch
from knowledge_plugin.injection.compilation import forget_compiled_code
before = "torch._dynamo" in sys.modules
assert forget_compiled_code() is False
assert ("torch._dynamo" in sys.modules) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
