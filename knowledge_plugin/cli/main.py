"""``knowledge-plugin``: look into plugins and knowledge bases, check them, and link text with them."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from knowledge_plugin.config import KNOWLEDGE_BASE_FOLDER, LIBRARY_VERSION, KnowledgeBaseConfig, read_config
from knowledge_plugin.errors import ArtifactError, HubError, KnowledgePluginError, LinkingError
from knowledge_plugin.evaluation import count_unlinkable
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking import DictionaryLinker, Linker
from knowledge_plugin.listing import list_plugins
from knowledge_plugin.plugin import KnowledgePlugin

app = typer.Typer(no_args_is_help=True)
kb_app = typer.Typer(help="Knowledge bases.", no_args_is_help=True)
app.add_typer(kb_app, name="kb")

Artifact = Annotated[str, typer.Argument(metavar="REPO|FOLDER", help="A folder, or user/name on the Hub.")]
Folder = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of the artifact.")]
RepoId = Annotated[str, typer.Argument(metavar="REPO", help="user/name on the Hub; made if it is not there.")]
Private = Annotated[bool | None, typer.Option("--private/--public", help="Of a repo that is made.")]
Revision = Annotated[str | None, typer.Option(help="Branch; made if it is not there.")]
CreatePr = Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

_PACKAGES = [
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "huggingface_hub",
    "safetensors",
    "pyarrow",
    "marisa-trie",
]


@contextmanager
def _failures() -> Iterator[None]:
    """Print an error of ours as one message on stderr and exit with 1."""
    try:
        yield
    except KnowledgePluginError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {type(error).__name__}: ", end="")
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _show(title: str, values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values, ensure_ascii=False, indent=2))
        return
    # As Text: names of strangers are not to be taken for markup.
    table = Table(title=Text(title), show_header=False, title_justify="left")
    for key, value in values.items():
        table.add_row(key, Text("-" if value is None else str(value)))
    Console().print(table)


def _knowledge_base(name: str) -> KnowledgeBase:
    """Open a knowledge base, also the one inside a plugin's folder."""
    inner = Path(name) / KNOWLEDGE_BASE_FOLDER
    return KnowledgeBase.from_pretrained(inner if inner.is_dir() else name)


def _open(name: str) -> KnowledgePlugin | KnowledgeBase:
    """Open what is there under this name: a plugin or a knowledge base, in a folder or on the Hub."""
    with suppress(KnowledgePluginError):
        read_config(name, KnowledgeBaseConfig)
        return KnowledgeBase.from_pretrained(name)
    try:
        return KnowledgePlugin.from_pretrained(name)
    except HubError:
        with suppress(HubError):
            return KnowledgeBase.from_pretrained(name)
        raise


def _plugin(name: str) -> KnowledgePlugin:
    try:
        return KnowledgePlugin.from_pretrained(name)
    except ArtifactError as error:
        with suppress(KnowledgePluginError):
            read_config(name, KnowledgeBaseConfig)
            error = ArtifactError(f"{error} Type: knowledge-plugin kb info {name}")
        raise error from None


def _linker(name: str) -> tuple[Linker, KnowledgeBase]:
    """Return the linker that a plugin attaches with, or one over the names of a knowledge base; and whose names."""
    opened = _open(name)
    if isinstance(opened, KnowledgeBase):
        return DictionaryLinker(opened), opened
    kb, linker = opened.knowledge_base, opened.default_linker()
    if linker is None:
        raise LinkingError(f"the mentions of {kb.config.name!r} come from elsewhere: the plugin has no linker.")
    return linker, kb


def _lines() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise LinkingError(
                f"line {number} of standard input is not UTF-8: {error.reason} at byte {error.start}. "
                "Type: iconv -f latin1 -t utf-8 FILE | knowledge-plugin link ..."
            ) from error


def _kb_values(kb: KnowledgeBase) -> dict[str, Any]:
    values = asdict(kb.config)
    files = values.pop("files")
    return {**values, "bytes": sum(item["size"] for item in files.values())}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"knowledge-plugin {LIBRARY_VERSION}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Knowledge plugins for frozen transformers checkpoints."""


@kb_app.command("info")
def kb_info(artifact: Artifact, as_json: AsJson = False) -> None:
    """Show what a knowledge base holds: entities, aliases, width, storage, licence, entities that are never linked."""
    with _failures():
        kb = _knowledge_base(artifact)
        _show(artifact, _kb_values(kb) | {"unlinkable entities": count_unlinkable(kb)}, as_json)


@kb_app.command("push")
def kb_push(
    folder: Folder,
    repo_id: RepoId,
    private: Private = None,
    revision: Revision = None,
    create_pr: CreatePr = False,
    as_json: AsJson = False,
) -> None:
    """Push a knowledge base to a dataset repo, for plugins to share."""
    with _failures():
        kb = KnowledgeBase.from_pretrained(folder)
        commit = kb.push_to_hub(repo_id, private=private, revision=revision, create_pr=create_pr)
        _show(repo_id, {"commit": commit.oid, "url": commit.pr_url or commit.commit_url}, as_json)


@app.command()
def push(
    folder: Folder,
    repo_id: RepoId,
    private: Private = None,
    revision: Revision = None,
    create_pr: CreatePr = False,
    as_json: AsJson = False,
) -> None:
    """Push a plugin to a model repo."""
    with _failures():
        commit = _plugin(str(folder)).push_to_hub(repo_id, private=private, revision=revision, create_pr=create_pr)
        _show(repo_id, {"commit": commit.oid, "url": commit.pr_url or commit.commit_url}, as_json)


@app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="Part of a name.")] = None,
    base_model: Annotated[str | None, typer.Option(help="Only plugins for this model, user/name.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only plugins whose card has this tag.")] = None,
    author: Annotated[str | None, typer.Option(help="Only plugins of this user or organisation.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find plugins on the Hub."""
    with _failures():
        found = list(list_plugins(base_model, domain=domain, search=text, author=author, limit=limit))
        if as_json:
            typer.echo(json.dumps([asdict(plugin) for plugin in found], ensure_ascii=False, indent=2, default=str))
            return
        table = Table("plugin", "base model", "licence", "downloads")
        for plugin in found:
            cells = (plugin.repo_id, plugin.base_model or "-", plugin.license or "-", str(plugin.downloads))
            table.add_row(*map(Text, cells))
        Console().print(table if found else "no plugin found")


@app.command()
def inspect(artifact: Artifact, as_json: AsJson = False) -> None:
    """Show what a plugin holds, and which model it is for."""
    with _failures():
        plugin = _plugin(artifact)
        base = plugin.config.base_model
        values = {
            "base model": base.name,
            "vocabulary": base.vocab_size,
            "embedding width": base.embedding_dim,
            "mapping": plugin.config.mapping.kind,
            "mapping parameters": sum(p.numel() for p in plugin.mapping.parameters()),
            "form": plugin.config.injection.form,
        }
        _show(artifact, values | {f"kb {k}": v for k, v in _kb_values(plugin.knowledge_base).items()}, as_json)


@app.command()
def verify(artifact: Artifact, as_json: AsJson = False) -> None:
    """Read every byte of a plugin or a knowledge base and check it against its config."""
    with _failures():
        opened = _open(artifact)
        (opened if isinstance(opened, KnowledgeBase) else opened.knowledge_base).verify()
        typer.echo(
            json.dumps({"artifact": artifact, "whole": True}, ensure_ascii=False) if as_json else f"{artifact}: whole"
        )


@app.command()
def link(
    artifact: Artifact,
    text: Annotated[list[str] | None, typer.Argument(help="Texts; without any, lines of standard input.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show which entities a plugin's own linker, or the dictionary linker of a knowledge base, finds in texts."""
    with _failures():
        linker, kb = _linker(artifact)
        for line in text or _lines():
            mentions = list(next(iter(linker([line]))))
            if as_json:
                typer.echo(json.dumps({"text": line, "mentions": [m._asdict() for m in mentions]}, ensure_ascii=False))
                continue
            typer.echo(line)
            for m in mentions:
                typer.echo(f"  {line[m.start : m.end]} -> {m.entity_id} ({kb[m.entity_id].label}, {m.score:.2f})")
            if not mentions:
                typer.echo("  no mention")


@app.command()
def env(as_json: AsJson = False) -> None:
    """Print the versions that a bug report needs."""
    values: dict[str, Any] = {"knowledge-plugin": LIBRARY_VERSION, "python": platform.python_version()}
    values |= {"platform": platform.platform()}
    for package in _PACKAGES:
        try:
            values[package] = version(package)
        except PackageNotFoundError:
            values[package] = None
    _show("environment", values, as_json)
