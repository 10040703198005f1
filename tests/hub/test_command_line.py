"""Publish, find, load and attach, each in a process of its own, as people do it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.cli.main import app
from tests import tiny

ROOT = Path(__file__).parents[2]
USE = """
import sys
from knowledge_plugin import KnowledgePlugin
from tests import tiny
plugin = KnowledgePlugin.from_pretrained(sys.argv[1], revision=sys.argv[2] or None)
with plugin.attach(tiny.classifier(), tiny.tokenizer("wordpiece")) as attachment:
    print([mention.entity_id for mention in attachment.explain("From Paris to New York")])
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    model = tiny.classifier()
    model.config._name_or_path = "org/base"
    KnowledgePlugin.for_model(model, tiny.knowledge_base()).save_pretrained(tmp_path / "plugin")
    return tmp_path / "plugin"


@pytest.fixture
def run(hub, tmp_path):
    """Run a fresh Python process that knows the Hub and Alice, and nothing else."""

    def run(*args: str, home: str = "home", check: bool = True) -> subprocess.CompletedProcess:
        env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        env |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_alice", "HF_HOME": str(tmp_path / home)}
        env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, *args], env=env, cwd=ROOT, capture_output=True, text=True, check=check, timeout=120
        )

    return run


def test_publish_find_and_use_in_three_processes(hub, run, folder):
    pushed = run("-m", "knowledge_plugin", "push", str(folder), "alice/cities", "--json")
    commit = json.loads(pushed.stdout)["commit"]
    assert commit == hub.repos["model", "alice/cities"].refs["main"]
    found = run("-m", "knowledge_plugin", "search", "cit", "--base-model", "org/base", "--json", home="other")
    assert [plugin["repo_id"] for plugin in json.loads(found.stdout)] == ["alice/cities"]
    hub.repos["model", "alice/cities"].refs["v1"] = commit
    for revision in ("", "v1", commit):
        used = run("-c", USE, "alice/cities", revision, home=f"third-{revision}")
        assert used.stdout.strip() == "['geo:paris', 'geo:new-york']"


def test_an_error_is_one_message_and_exit_code_1(run, folder):
    refused = run("-m", "knowledge_plugin", "push", str(folder), "org/cities", check=False)
    assert refused.returncode == 1
    assert "HubError" in refused.stderr
    assert "Traceback" not in refused.stderr


class TestInThisProcess:
    @pytest.fixture
    def call(self, hub):
        return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])

    def test_a_knowledge_base_is_pushed_and_looked_into(self, hub, call, folder):
        assert call("kb", "push", folder / "knowledge_base", "alice/cities-kb", "--private").exit_code == 0
        assert hub.repos["dataset", "alice/cities-kb"].private
        assert json.loads(call("kb", "info", "alice/cities-kb", "--json").stdout)["rows"] == 5

    def test_plugins_and_knowledge_bases_by_name(self, call, folder):
        call("push", folder, "alice/cities")
        call("kb", "push", folder / "knowledge_base", "alice/cities-kb")
        for name in ("alice/cities", "alice/cities-kb", folder, folder / "knowledge_base"):
            assert "whole" in call("verify", name).output
            linked = json.loads(call("link", name, "Berlin", "--json").stdout)
            assert linked["mentions"][0]["entity_id"] == "geo:berlin"

    def test_a_table_for_people(self, call, folder):
        assert "no plugin found" in call("search").output
        call("push", folder, "alice/cities")
        shown = call("search", "--author", "alice").output
        assert "alice/cities" in shown
        assert "org/base" in shown

    @pytest.mark.parametrize("args", [["push"], ["push", "nowhere", "alice/x"], ["search", "--limit", "many"]])
    def test_wrong_use_is_exit_code_2(self, call, args):
        assert call(*args).exit_code == 2

    def test_a_name_that_is_neither(self, call):
        result = call("verify", "alice/nothing")
        assert result.exit_code == 1
        assert "alice/nothing" in result.output
