"""PyKEEN beside other libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_after_bitsandbytes_too():
    pytest.importorskip("bitsandbytes")
    pytest.importorskip("pykeen")
    code = """
import torch, bitsandbytes
from class_resolver import api
from knowledge_plugin.building import embed_graph

every = api.get_subclasses
ids, vectors = embed_graph([("a", "r", "b"), ("b", "r", "c")], dim=2, epochs=1, progress=False)
assert ids == ["a", "b", "c"] and vectors.shape == (3, 2)
from class_resolver.contrib.torch import optimizer_resolver

assert optimizer_resolver.lookup("adamw") is torch.optim.AdamW
assert api.get_subclasses is every
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
