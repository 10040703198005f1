"""A Hub on this machine, and a client that talks to it."""

from __future__ import annotations

import pytest
from huggingface_hub import constants

from tests.hub.loopback import LoopbackHub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The loopback Hub, reached by everything in this process, with Alice logged in and an empty cache."""
    with LoopbackHub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_alice")
        yield hub
