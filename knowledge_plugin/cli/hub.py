"""Commands between folders and the Hub: ``push``, ``kb push``, ``search``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from huggingface_hub import CommitInfo

from knowledge_plugin.cli.artifact import InSubfolder, open_plugin
from knowledge_plugin.cli.checkpoint import load_model
from knowledge_plugin.cli.output import AsJson, print_json, print_table, print_values
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.listing import list_plugins

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="Folder of the artifact.")]
RepoId = Annotated[str, typer.Argument(metavar="REPO", help="user/name on the Hub; made if it is not there.")]
Private = Annotated[bool | None, typer.Option("--private/--public", help="Of a repo that is made.")]
ToRevision = Annotated[str | None, typer.Option("--revision", help="Branch; made if it is not there.")]
CreatePr = Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead.")]
Message = Annotated[str | None, typer.Option("--message", help="First line of the commit.")]


def push(
    folder: Folder,
    repo_id: RepoId,
    private: Private = None,
    revision: ToRevision = None,
    subfolder: InSubfolder = None,
    create_pr: CreatePr = False,
    message: Message = None,
    as_json: AsJson = False,
) -> None:
    """Push a plugin to a model repo, in one commit."""
    commit = open_plugin(str(folder)).push_to_hub(
        repo_id,
        private=private,
        revision=revision,
        subfolder=subfolder,
        create_pr=create_pr,
        commit_message=message,
    )
    _show_commit(repo_id, commit, as_json)


def kb_push(
    folder: Folder,
    repo_id: RepoId,
    private: Private = None,
    revision: ToRevision = None,
    create_pr: CreatePr = False,
    message: Message = None,
    as_json: AsJson = False,
) -> None:
    """Push a knowledge base to a dataset repo, for plugins to share."""
    commit = KnowledgeBase.from_pretrained(folder).push_to_hub(
        repo_id, private=private, revision=revision, create_pr=create_pr, commit_message=message
    )
    _show_commit(repo_id, commit, as_json)


def _show_commit(repo_id: str, commit: CommitInfo, as_json: bool) -> None:
    values = {"commit": commit.oid, "url": commit.pr_url or commit.commit_url}
    if as_json:
        print_json(values)
    else:
        print_values(repo_id, values)


def search(
    text: Annotated[str | None, typer.Argument(help="Part of a name.")] = None,
    base_model: Annotated[str | None, typer.Option(help="Only plugins for this model, user/name.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only plugins whose card has this tag.")] = None,
    author: Annotated[str | None, typer.Option(help="Only plugins of this user or organisation.")] = None,
    fits: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", help="Only plugins that this model can take: a folder or repo.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find plugins on the Hub, the most downloaded first."""
    model = None if fits is None else load_model(fits, with_head=False)
    found = list(list_plugins(base_model, domain=domain, search=text, author=author, fits=model, limit=limit))
    if as_json:
        print_json([asdict(plugin) for plugin in found])
    elif found:
        rows: list[tuple] = [(p.repo_id, p.base_model, p.license, p.downloads) for p in found]
        columns = ["plugin", "base model", "licence", "downloads"]
        if model is not None:
            rows = [(*row, p.subfolder, p.fit) for row, p in zip(rows, found, strict=True)]
            columns += ["subfolder", "fit"]
        print_table(columns, rows)
    else:
        typer.echo("no plugin found")
