from __future__ import annotations

import os
from pathlib import Path

from tests.cli.common import as_json, run


def test_env():
    values = as_json("env")
    assert {"knowledge-plugin", "python", "torch", "transformers", "devices"} <= set(values)
    assert values["torch"] in run("env").stdout


def test_nothing_of_the_users_is_told(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    shown = run("env").stdout
    for secret in ("hf_secret", str(Path.home()), os.environ["HF_HOME"]):
        assert secret not in shown
