"""Before anything is imported: a cache of its own, and no network."""

# ruff: noqa: E402

from __future__ import annotations

import os
import tempfile

# huggingface_hub reads these once, on import.
_HOME = tempfile.mkdtemp(prefix="knowledge-plugin-tests-")
os.environ["HF_HOME"] = _HOME
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch
from hypothesis import settings

from tests import tiny

# A busy machine is no failure.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _one_thread():
    """Two test processes with two threads each would fight over two cores."""
    torch.set_num_threads(1)


@pytest.fixture
def kb():
    return tiny.knowledge_base()


@pytest.fixture
def model():
    return tiny.classifier()


@pytest.fixture(scope="session")
def wordpiece():
    return tiny.tokenizer("wordpiece")


@pytest.fixture(params=tiny.FAMILIES, scope="session")
def tokenizer(request):
    """A tokenizer of each family."""
    return tiny.tokenizer(request.param)
