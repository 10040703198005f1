"""What commands print: values for people or JSON on stdout; errors, warnings and progress on stderr."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from knowledge_plugin.errors import KnowledgePluginError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all control characters but tab and line feed
INTERRUPTED = 130  # what a shell reports of a command that Ctrl-C has ended


class Commands(TyperGroup):
    """A group of commands whose errors are one message on stderr: exit code 1, and 130 for Ctrl-C.

    Only errors that this package raises on purpose; a bug keeps its traceback.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except KnowledgePluginError as error:
                _complain("error", "red", f"{type(error).__name__}: {error}")
                raise typer.Exit(1) from None
            except KeyboardInterrupt:
                typer.echo("interrupted", err=True)
                raise typer.Exit(INTERRUPTED) from None


def _show_warning(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
    # Which line of which file warns is of no use to who types commands.
    _complain("warning", "yellow", str(message))


def _complain(what: str, colour: str, message: str) -> None:
    Console(stderr=True).print(f"[bold {colour}]{what}:[/] ", end="")
    typer.echo(harmless(message), err=True)


def print_json(value: object) -> None:
    """Print for programs, whatever the alphabet."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def print_values(title: str, values: Mapping[str, object]) -> None:
    """Print a title, and below it a line for each value: never broken, so that a URL can be clicked."""
    width = max(map(len, values), default=0)
    console = Console()
    console.print(_text(title), soft_wrap=True)
    for key, value in values.items():
        console.print(Text.assemble((f"  {harmless(key):<{width}}  ", "bold"), _text(value)), soft_wrap=True)


def print_table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table; long names are folded, never cut."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    Console().print(table)


def _text(value: object) -> Text:
    # As Text: names of strangers are not to be taken for markup.
    return Text("-" if value is None else harmless(value), overflow="fold")


def harmless(value: object) -> str:
    """Return a text that a stranger wrote as it can be shown: what steers a terminal is spelt out.

    Example:
        >>> harmless("\\x1b[2J Ada")
        '\\\\x1b[2J Ada'
    """
    return _STEERING.sub(lambda found: f"\\x{ord(found[0]):02x}", str(value))


def readable_size(size: int) -> str:
    """Return a number of bytes as people write it.

    Example:
        >>> readable_size(512), readable_size(1_234_000_000)
        ('512 B', '1.2 GB')
    """
    units = ("B", "kB", "MB", "GB", "TB")
    power = min(len(str(size)) - 1, 3 * len(units) - 1) // 3
    return f"{size / 1000**power:.1f} {units[power]}" if power else f"{size} B"
