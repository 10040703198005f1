"""Running the command line in this process and in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import typer
from typer.testing import CliRunner

from knowledge_plugin.cli.main import app


def run(*arguments, **kwargs):
    result = CliRunner().invoke(app, [str(a) for a in arguments], **kwargs)
    assert result.exception is None or isinstance(result.exception, (SystemExit, typer.Exit)), result.exception
    return result


def as_json(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def start(*arguments, **kwargs) -> subprocess.Popen:
    command = [sys.executable, "-m", "knowledge_plugin", *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, **(pipes | kwargs))
