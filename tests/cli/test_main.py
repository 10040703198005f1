from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from knowledge_plugin import Entity, KnowledgeBase, __version__
from knowledge_plugin.cli.main import app
from tests.cli.common import run

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


def test_names_do_not_steer_the_terminal(tmp_path):
    name = "\x1b[2J\x9b31m\rAda"
    kb = KnowledgeBase.from_entities([Entity(f"x:{name}", name, aliases=["Ada"])], [[1.0]], name=name, license=name)
    kb.save_pretrained(tmp_path)
    for command in (["kb", "info", tmp_path], ["link", tmp_path, "Ada"]):
        shown = run(*command).output
        assert "\\x1b[2J" in shown
        assert not set("\x1b\x9b\r") & set(shown)


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


@pytest.mark.parametrize("group", [(), ("kb",)])
def test_every_command_shows_an_example_that_is_right(group):
    commands = app if not group else app.registered_groups[0].typer_instance
    names = [command.name for command in commands.registered_commands]
    assert names
    for name in names:
        shown = run(*group, name, "--help", env={"COLUMNS": "200"}).stdout
        example = next(line for line in shown.splitlines() if "Example:" in line).split("Example:")[1]
        program, *words = shlex.split(example)
        assert (program, words[: len(group) + 1]) == ("knowledge-plugin", [*group, name])
        result = run(*words)
        # Of what the command is told, at most that there is no such folder may be wrong.
        assert result.exit_code != 2 or "does not exist" in result.stderr


def test_the_commands_are_in_panels():
    shown = run("--help").stdout
    panels = ["Look inside", "On the Hub", "When something goes wrong"]
    assert sorted(panels, key=shown.index) == panels


def test_show_and_install_completion(monkeypatch, tmp_path):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    shown = run("--show-completion", "bash", prog_name="knowledge-plugin")
    assert shown.exit_code == 0
    assert "_KNOWLEDGE_PLUGIN_COMPLETE=complete_bash" in shown.stdout
    assert run("--install-completion", "bash", prog_name="knowledge-plugin").exit_code == 0
    installed = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_KNOWLEDGE_PLUGIN_COMPLETE" in path.read_text() for path in installed)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("knowledge-plugin in", ["inspect"]),
        ("knowledge-plugin kb ", ["build", "info", "verify", "upsert", "remove", "push"]),
        ("x verify --rev", ["--revision"]),
    ],
)
def test_completion(words, completed):
    env = {"_KNOWLEDGE_PLUGIN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert run(prog_name="knowledge-plugin", env=env).stdout.split() == completed
