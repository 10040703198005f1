"""``knowledge-plugin``: look into plugins and knowledge bases, check them, make, measure, publish and find them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import typer

from knowledge_plugin.cli import artifact, building, environment, hub, learning, text
from knowledge_plugin.cli.output import Commands
from knowledge_plugin.config import LIBRARY_VERSION


class _Command(NamedTuple):
    name: str
    function: Callable[..., None]
    panel: str
    example: str


_HELP_TEXT = """Knowledge plugins for frozen transformers checkpoints.

Name a folder, or a repo on the Hub; --help of each command shows an example. Results go to stdout, progress and \
errors to stderr. Exit code 1: it failed; 2: it was called in a wrong way."""
_LOOK, _LEARN, _HUB, _TROUBLE = "Look inside", "Make and measure", "On the Hub", "When something goes wrong"
_COMMANDS = (
    _Command("inspect", artifact.inspect, _LOOK, "inspect alice/drugs"),
    _Command("verify", artifact.verify, _LOOK, "verify ./drugs-plugin"),
    _Command("link", text.link, _LOOK, 'link alice/drugs "She takes aspirin."'),
    _Command("align", learning.align, _LEARN, "align ./drugs-plugin --kb ./drugs-kb --model ./my-model"),
    _Command(
        "train", learning.train, _LEARN, "train ./drugs-plugin --kb ./drugs-kb --model ./my-model --data new.jsonl"
    ),
    _Command("evaluate", learning.evaluate, _LEARN, "evaluate ./drugs-plugin --model ./my-model --data test.jsonl"),
    _Command("push", hub.push, _HUB, "push ./drugs-plugin alice/drugs --private"),
    _Command("search", hub.search, _HUB, "search drugs --base-model org/model"),
    _Command("env", environment.env, _TROUBLE, "env --json"),
)
_KB_COMMANDS = (
    _Command("build", building.build, _LEARN, "kb build ./drugs-kb --entities drugs.csv --embedder text --name drugs"),
    _Command("info", artifact.kb_info, _LOOK, "kb info alice/drugs-kb"),
    _Command("verify", artifact.verify, _LOOK, "kb verify ./drugs-kb"),
    _Command(
        "upsert",
        building.upsert,
        _LEARN,
        "kb upsert ./drugs-kb --entities new.csv --vectors new.npy --kb-version 2026-12",
    ),
    _Command("remove", building.remove, _LEARN, "kb remove ./drugs-kb drugs:17"),
    _Command("push", hub.kb_push, _HUB, "kb push ./drugs-kb alice/drugs-kb"),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"knowledge-plugin {LIBRARY_VERSION}")
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _build(called: str, **options: Any) -> typer.Typer:
    """Make the command line.

    Args:
        called: What people type to call it.
        **options: Of :class:`typer.Typer`.
    """
    # A bug keeps Python's own traceback, which is what a report needs.
    common: dict[str, Any] = {"cls": Commands, "no_args_is_help": True, "pretty_exceptions_enable": False}
    app, kb_app = typer.Typer(**common, **options), typer.Typer(**common)
    for group, commands in ((app, _COMMANDS), (kb_app, _KB_COMMANDS)):
        for name, function, panel, example in commands:
            group.command(name, rich_help_panel=panel, epilog=f"Example: {called} {example}")(function)
    app.add_typer(
        kb_app,
        name="kb",
        help="Knowledge bases: build them, look into them, change them, publish them.",
        rich_help_panel=_LOOK,
    )
    app.callback(help=_HELP_TEXT)(_main)
    return app


app = _build("knowledge-plugin")
_extension = _build("hf knowledge-plugin", add_completion=False)  # completion of hf's commands is hf's


def hf_extension() -> None:
    """Run as ``hf knowledge-plugin``, an extension of the ``hf`` command."""
    _extension(prog_name="hf knowledge-plugin")
