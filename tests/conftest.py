"""Before anything is imported: a cache of its own, and no network."""

# ruff: noqa: E402

from __future__ import annotations

import os
import tempfile

# huggingface_hub reads these once, on import.
_HOME = tempfile.mkdtemp(prefix="knowledge-plugin-tests-")
os.environ["HF_HOME"] = _HOME
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"  # the loopback Hub takes LFS uploads
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch
from hypothesis import settings

from tests import tiny
from tests.contract import compatibility

# A busy machine is no failure.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


_reports: list[pytest.TestReport] = []


def pytest_addoption(parser):
    parser.addoption("--compatibility", action="store_true", help="write docs/compatibility.md from what passes")


def pytest_configure(config):
    config.addinivalue_line("markers", "way(group, name, limit): evidence for a row of docs/compatibility.md")


def pytest_make_parametrize_id(val, argname):
    # Packed bytes may hold the time, and the two workers must collect tests of the same names.
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items):
    for item in items:
        compatibility.label(item)


def pytest_runtest_logreport(report):
    _reports.append(report)


def pytest_sessionfinish(session):
    if session.config.getoption("--compatibility") and not hasattr(session.config, "workerinput"):
        compatibility.TABLE.parent.mkdir(exist_ok=True)
        compatibility.TABLE.write_text(compatibility.render(*compatibility.tally(_reports)), encoding="utf-8")


@pytest.fixture(autouse=True)
def _one_thread():
    """Two test processes with two threads each would fight over two cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _one_environment():
    """datasets puts a copy in the place of os.environ, and rich goes on to read the one that it knows."""
    environment = os.environ
    yield
    os.environ = environment


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
