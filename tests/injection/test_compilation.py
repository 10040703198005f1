from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.injection.compilation import forget_compiled_code
from tests import tiny


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
from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.injection.compilation import forget_compiled_code
from tests import tiny
before = "torch._dynamo" in sys.modules
assert forget_compiled_code() is False
assert ("torch._dynamo" in sys.modules) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("first", ["plain", "attached"])
def test_a_plain_twin_that_is_compiled_too_keeps_its_code_to_itself(first, model, wordpiece):
    twin = copy.deepcopy(model)
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base())
    with plugin.attach(model, wordpiece) as (model, tokenizer):
        linked = tokenizer("the museum in paris", return_tensors="pt")
        plain = wordpiece("the museum in town of paris", return_tensors="pt")
        with torch.no_grad():
            wanted = {"plain": twin(**plain).logits, "attached": model(**linked).logits}
            compiled = {name: torch.compile(m, backend="eager") for name, m in [("plain", twin), ("attached", model)]}
            for name in (first, "attached", "plain"):
                got = compiled[name](**(plain if name == "plain" else linked)).logits
                assert torch.equal(got, wanted[name])
