"""The command that looks at text: ``link``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from knowledge_plugin.cli.artifact import Artifact, AtRevision, InSubfolder, open_any
from knowledge_plugin.cli.output import AsJson, harmless
from knowledge_plugin.errors import LinkingError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking import DictionaryLinker, Linker
from knowledge_plugin.plugin import KnowledgePlugin


def link(
    artifact: Artifact,
    text: Annotated[list[str] | None, typer.Argument(help="Texts; without any, lines of standard input.")] = None,
    revision: AtRevision = None,
    subfolder: InSubfolder = None,
    as_json: AsJson = False,
) -> None:
    """Show which entities a plugin's own linker, or the dictionary linker of a knowledge base, finds in texts."""
    linker, kb = _linker(open_any(artifact, revision, subfolder))
    for line in text or _lines():
        mentions = list(next(iter(linker([line]))))
        if as_json:  # an object a line, as texts come
            typer.echo(json.dumps({"text": line, "mentions": [m._asdict() for m in mentions]}, ensure_ascii=False))
            continue
        typer.echo(line)
        for m in mentions:
            entity = harmless(f"{m.entity_id} ({kb[m.entity_id].label}, {m.score:.2f})")
            typer.echo(f"  {line[m.start : m.end]} -> {entity}")
        if not mentions:
            typer.echo("  no mention")


def _linker(opened: KnowledgePlugin | KnowledgeBase) -> tuple[Linker, KnowledgeBase]:
    """Return the linker that a plugin attaches with, or one over the names of a knowledge base; and whose names."""
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
