"""``hf knowledge-plugin``, by huggingface_hub's own code for extensions of the ``hf`` command."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import distribution
from pathlib import Path

import pytest

from knowledge_plugin.cli.main import hf_extension

extensions = pytest.importorskip("huggingface_hub.cli.extensions", reason="this huggingface_hub has no extensions")
REPO = "someone/hf-knowledge-plugin"


@pytest.fixture
def script() -> str:
    """The console script that ``hf extensions install`` looks for in the package."""
    *_, short_name = extensions._normalize_repo_id(REPO)
    return extensions._get_executable_name(short_name)


def test_the_package_brings_the_script_that_hf_wants(script):
    scripts = {entry.name: entry for entry in distribution("knowledge-plugin").entry_points}
    assert callable(scripts[Path(script).stem].load())


def test_hf_runs_it(tmp_path, script):
    owner, repo, short_name = extensions._normalize_repo_id(REPO)
    manifest = extensions.ExtensionManifest(
        owner=owner,
        repo=repo,
        repo_id=REPO,
        short_name=short_name,
        executable_path=str(Path(sys.executable).with_name(script)),
        type="python",
        installed_at=datetime.now(timezone.utc),
    )
    manifest.save(tmp_path / extensions.EXTENSIONS_ROOT.relative_to("~") / repo)

    def hf(*arguments: str) -> subprocess.CompletedProcess:
        env = os.environ | {"HOME": str(tmp_path), "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
        command = [sys.executable, "-m", "huggingface_hub.cli.hf", "knowledge-plugin", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    shown = hf("inspect", "--help").stdout
    assert "Usage: hf knowledge-plugin inspect" in shown
    assert "Example: hf knowledge-plugin inspect alice/drugs" in shown
    assert hf("inspect").returncode == 2


def test_it_leaves_completion_to_hf(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hf-knowledge-plugin", "--help"])
    with pytest.raises(SystemExit) as ended:
        hf_extension()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "Usage: hf knowledge-plugin " in shown
    assert "completion" not in shown
