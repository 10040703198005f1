"""Publish, find, load and attach, each in a process of its own, as people do it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants
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

    def run(*args: str, home: str = "home", check: bool = True, progress: bool = False) -> subprocess.CompletedProcess:
        env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        env |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_alice", "HF_HOME": str(tmp_path / home)}
        env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": str(int(not progress)), "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, *args], env=env, cwd=ROOT, capture_output=True, text=True, check=check, timeout=120
        )

    return run


def test_publish_find_and_use_in_three_processes(hub, run, folder):
    pushed = run("-m", "knowledge_plugin", "push", str(folder), "alice/cities", "--json", progress=True)
    assert "100%" in pushed.stderr  # and not in what programs read
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

    def test_a_shared_knowledge_base_is_verified_where_it_lies(self, hub, call, folder):
        plugin = KnowledgePlugin.from_pretrained(folder)
        commit = plugin.knowledge_base.push_to_hub("alice/cities-kb")
        plugin.push_to_hub("alice/cities")
        values = json.loads(call("verify", "alice/cities", "--json").stdout)
        assert values["whole"]
        assert json.loads(call("inspect", "alice/cities", "--json").stdout)["knowledge base"] == {
            "repo_id": "alice/cities-kb",
            "revision": commit.oid,
        }
        assert f"alice/cities-kb, at {commit.oid}" in call("inspect", "alice/cities").stdout
        del hub.repos["dataset", "alice/cities-kb"]
        shutil.rmtree(constants.HF_HUB_CACHE)
        result = call("verify", "alice/cities")
        assert result.exit_code == 1
        assert f"error: alice/cities-kb@{commit.oid[:7]}/: " in result.stdout

    def test_several_plugins_in_one_repo(self, call, folder):
        for name in ("small", "large"):
            assert call("push", folder, "alice/cities", "--subfolder", name).exit_code == 0
        values = json.loads(call("verify", "alice/cities", "--json").stdout)
        assert (values["kind"], values["whole"]) == ("knowledge-plugins", True)
        for command in ("inspect", "verify"):
            assert call(command, "alice/cities", "--subfolder", "small", "--json").exit_code == 0
        assert "geo:berlin" in call("link", "alice/cities", "Berlin", "--subfolder", "large").stdout
        result = call("inspect", "alice/cities")
        assert result.exit_code == 1
        assert "large, small" in result.stderr

    def test_a_revision(self, hub, call, folder):
        first = json.loads(call("push", folder, "alice/cities", "--json").stdout)["commit"]
        hub.repos["model", "alice/cities"].commit("main", {"config.json": b"{}"}, "oops", first)
        assert call("verify", "alice/cities").exit_code == 1
        for command in (["verify"], ["inspect"], ["link", "Berlin"]):
            assert call(command[0], "alice/cities", *command[1:], "--revision", first).exit_code == 0

    def test_the_message_of_a_commit(self, hub, call, folder):
        commit = json.loads(call("push", folder, "alice/cities", "--message", "First", "--json").stdout)["commit"]
        assert hub.repos["model", "alice/cities"].commits[commit].message == "First"

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
