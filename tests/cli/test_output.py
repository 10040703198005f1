from __future__ import annotations

import signal
import subprocess
import sys
import warnings

import pytest
import typer
from typer.testing import CliRunner

from knowledge_plugin.cli.output import Commands, print_table, print_values, readable_size
from tests.cli.common import start

LINE = "in York\n"


def test_a_closed_pipe_ends_it_quietly(kb_folder):
    process = start("link", kb_folder)
    process.stdin.write(LINE)
    process.stdin.flush()
    assert process.stdout.readline() == LINE
    process.stdout.close()  # as head -1 does
    try:
        process.stdin.write(LINE * 100)
        process.stdin.close()
    except BrokenPipeError:  # it has ended already
        pass
    assert process.stderr.read() == ""
    assert process.wait(60) == 1


@pytest.mark.parametrize("command", ["verify", "link"])
def test_stdout_that_is_closed_from_the_start(command, plugin_folder):
    texts = ["York"] if command == "link" else []
    script = f'exec "$0" -m knowledge_plugin {command} "$@" >&-'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, plugin_folder, *texts], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_control_c(kb_folder):
    # Whoever runs the tests in the background of a shell passes on that Ctrl-C is to be ignored.
    process = start("link", kb_folder, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    process.stdin.write(LINE)
    process.stdin.flush()
    assert process.stdout.readline() == LINE  # it is at work
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")


@pytest.fixture
def app():
    app = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

    @app.command()
    def broken():
        raise RuntimeError("a bug")

    @app.command()
    def warned():
        warnings.warn("mind the gap", stacklevel=1)
        print_values("title [/x]", {"key": "value [bold]", "nothing": None})

    return app


def test_a_bug_keeps_its_traceback(app):
    result = CliRunner().invoke(app, ["broken"])
    assert isinstance(result.exception, RuntimeError)


def test_warnings_are_one_line_on_stderr(app):
    result = CliRunner().invoke(app, ["warned"])
    assert result.stderr == "warning: mind the gap\n"
    assert result.stdout.splitlines() == ["title [/x]", "  key      value [bold]", "  nothing  -"]


def test_long_values_are_not_broken(capsys):
    url = f"https://hub/{'x' * 300}"
    print_values("repo", {"url": url})
    assert url in capsys.readouterr().out


def test_long_names_in_a_table_are_folded_and_not_cut(capsys):
    print_table(["name", "size"], [["a" * 300, None]])
    shown = capsys.readouterr().out
    assert shown.count("a") == 301
    assert "…" not in shown


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (51_600, "51.6 kB"), (2 * 10**9, "2.0 GB"), (10**16, "10000.0 TB")]
)
def test_readable_size(size, words):
    assert readable_size(size) == words
