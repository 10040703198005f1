from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import typer
from typer.testing import CliRunner

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, __version__
from knowledge_plugin.cli.main import app
from knowledge_plugin.config import LinkerConfig
from tests import tiny


@pytest.fixture(scope="module")
def kb_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kb")
    tiny.knowledge_base().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def plugin_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugin")
    KnowledgePlugin.for_model(tiny.classifier(), tiny.knowledge_base(), mapping="affine").save_pretrained(folder)
    return str(folder)


def run(*arguments, **kwargs):
    result = CliRunner().invoke(app, [str(a) for a in arguments], **kwargs)
    assert result.exception is None or isinstance(result.exception, (SystemExit, typer.Exit)), result.exception
    return result


def as_json(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("folder", ["kb_folder", "plugin_folder"])
def test_kb_info(folder, request):
    folder = request.getfixturevalue(folder)
    values = as_json("kb", "info", folder)
    expected = {"name": "cities", "rows": 5, "aliases": 7, "dim": 8, "dtype": "float32", "license": "cc-by-4.0"}
    assert {key: values[key] for key in expected} == expected
    assert values["bytes"] > 0
    result = run("kb", "info", folder)
    assert result.exit_code == 0
    assert "cities" in result.stdout
    assert "cc-by-4.0" in result.stdout


def test_kb_info_counts_the_entities_that_the_linker_cannot_find(tmp_path, kb_folder):
    assert as_json("kb", "info", kb_folder)["unlinkable entities"] == 0
    entities = [Entity("x:1", "Of"), Entity("x:2", "X"), Entity("x:3", "Ada", aliases=["of"]), Entity("x:4", " the ")]
    KnowledgeBase.from_entities(entities, torch.eye(4), name="t").save_pretrained(tmp_path)
    assert as_json("kb", "info", tmp_path)["unlinkable entities"] == 3
    assert "unlinkable entities" in run("kb", "info", tmp_path).stdout


def test_inspect(plugin_folder):
    values = as_json("inspect", plugin_folder)
    expected = {"mapping": "affine", "embedding width": 16, "mapping parameters": 8 * 16 + 16, "kb rows": 5}
    assert {key: values[key] for key in expected} == expected
    assert "affine" in run("inspect", plugin_folder).stdout


@pytest.mark.parametrize("folder", ["kb_folder", "plugin_folder"])
def test_verify(folder, request):
    folder = request.getfixturevalue(folder)
    result = run("verify", folder)
    assert (result.exit_code, result.stdout) == (0, f"{folder}: whole\n")


@pytest.mark.parametrize("folder", ["kb_folder", "plugin_folder"])
def test_verify_json(folder, request):
    folder = request.getfixturevalue(folder)
    assert as_json("verify", folder) == {"artifact": folder, "whole": True}


@pytest.mark.parametrize("inner", ["", "knowledge_base"])
def test_verify_of_an_altered_file(tmp_path, inner):
    if inner:
        KnowledgePlugin.for_model(tiny.classifier(), tiny.knowledge_base()).save_pretrained(tmp_path)
    else:
        tiny.knowledge_base().save_pretrained(tmp_path)
    shard = tmp_path / inner / "embeddings-00001-of-00001.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    result = run("verify", tmp_path)
    assert result.exit_code == 1
    assert "whole" not in result.stdout
    assert "ArtifactError" in result.stderr
    assert "altered" in result.stderr


@pytest.mark.parametrize("folder", ["kb_folder", "plugin_folder"])
def test_link(folder, request):
    folder = request.getfixturevalue(folder)
    result = run("link", folder, "From New York to Berlin", "nowhere")
    assert result.exit_code == 0
    assert "New York -> geo:new-york (New York, 1.00)" in result.stdout
    assert "Berlin -> geo:berlin" in result.stdout
    assert "no mention" in result.stdout


def test_link_json_prints_a_line_for_each_line_of_standard_input(kb_folder):
    result = run("link", kb_folder, "--json", input="in York\n\nZu\u0308rich\n")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["text"] for line in lines] == ["in York", "", "Zu\u0308rich"]
    assert lines[0]["mentions"] == [{"start": 3, "end": 7, "entity_id": "geo:york", "score": 1.0}]
    assert lines[1]["mentions"] == lines[2]["mentions"] == []


def test_link_of_a_plugin_uses_the_settings_that_it_was_made_with(tmp_path):
    plugin = KnowledgePlugin.for_model(tiny.classifier(), tiny.knowledge_base())
    plugin.config = replace(plugin.config, linker=LinkerConfig(case="sensitive", stop_words=["Berlin"]))
    plugin.save_pretrained(tmp_path)
    assert "no mention" in run("link", tmp_path, "in paris and Berlin").stdout
    assert "geo:paris" in run("link", tmp_path, "in Paris").stdout


@pytest.mark.parametrize("kind", ["kb", "plugin"])
def test_linking_where_mentions_come_from_elsewhere_exits_with_1(tmp_path, kind):
    kb = KnowledgeBase.from_entities([Entity("x:1", "")], [[1.0]], name="t", linker="external")
    (kb if kind == "kb" else KnowledgePlugin.for_model(tiny.classifier(), kb)).save_pretrained(tmp_path)
    result = run("link", tmp_path, "text")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "LinkingError" in result.stderr


def test_standard_input_that_is_no_utf8_exits_with_1(kb_folder):
    result = run("link", kb_folder, "--json", input=b"in York\nin Z\xfcrich\nin York\n")
    assert result.exit_code == 1
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == ["in York"]
    assert "line 2 of standard input is not UTF-8" in result.stderr
    assert "iconv" in result.stderr
    assert "Traceback" not in result.stderr


def test_line_ends_of_another_system_are_no_text(kb_folder):
    result = run("link", kb_folder, "--json", input=b"in York\r\n")
    assert json.loads(result.stdout)["text"] == "in York"


def test_env():
    values = as_json("env")
    assert {"knowledge-plugin", "python", "torch", "transformers"} <= set(values)
    assert values["torch"] in run("env").stdout


COMMANDS = [("kb", "info"), ("inspect",), ("verify",), ("link",)]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_is_none_exits_with_1(command, tmp_path):
    texts = ["text"] if command == ("link",) else []
    for folder in (tmp_path, tmp_path / "absent"):
        result = run(*command, folder, *texts)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert "error: ArtifactError" in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_repo_that_is_not_in_the_cache_exits_with_1(command):
    result = run(*command, "user/never-downloaded", *(["text"] if command == ("link",) else []))
    assert result.exit_code == 1
    assert "HubError" in result.stderr


def test_a_knowledge_base_is_no_plugin(kb_folder):
    result = run("inspect", kb_folder)
    assert result.exit_code == 1
    assert "holds a knowledge-base, not a knowledge-plugin" in result.stderr.replace("\n", " ")
    assert f"Type: knowledge-plugin kb info {kb_folder}" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("no-such-command",), ("inspect",), ("env", "--no-such-option"), ("kb", "info"), ("kb", "x")]
)
def test_wrong_use_exits_with_2(arguments):
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [("--help",), ("kb", "--help"), ("link", "--help")])
def test_help(arguments):
    result = run(*arguments)
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_names_are_not_taken_for_markup(tmp_path):
    name = "[bold]x[/italic] [/] [link=file:///etc/passwd]y"
    kb = KnowledgeBase.from_entities([Entity("x:1", "[/b]Ada")], [[1.0]], name=name, license=name)
    kb.save_pretrained(tmp_path / "[red]kb[/]")
    folder = tmp_path / "[red]kb[/]"
    result = run("kb", "info", folder)
    assert result.exit_code == 0
    assert "[bold]x[/italic]" in result.stdout
    assert run("link", folder, "[/b]Ada [/c]").exit_code == 0
    assert run("kb", "info", tmp_path / "[/red]absent").exit_code == 1


def test_version():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"knowledge-plugin {__version__}\n")


def test_python_dash_m():
    command = [sys.executable, "-m", "knowledge_plugin", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Usage: knowledge-plugin" in done.stdout


def test_the_console_script_and_its_exit_code(tmp_path):
    script = "from knowledge_plugin.cli.main import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", script, "kb", "info", tmp_path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected a file config.json" in done.stderr.replace("\n", " ")
