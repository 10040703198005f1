"""The command that looks at text: ``link``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from knowledge_plugin.cli.artifact import Artifact, AtRevision, InSubfolder, open_any
from knowledge_plugin.cli.output import AsJson, harmless, print_json, print_table
from knowledge_plugin.config import TokenInjectionConfig
from knowledge_plugin.errors import LinkingError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking import DictionaryLinker, Linker, LinkingQuality, read_gold, score_linker
from knowledge_plugin.plugin import KnowledgePlugin


def link(
    artifact: Artifact,
    text: Annotated[list[str] | None, typer.Argument(help="Texts; without any, lines of standard input.")] = None,
    revision: AtRevision = None,
    subfolder: InSubfolder = None,
    gold: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='Measure by marked texts: JSON Lines {"text", "mentions": [{"start", "end", "entity_id"}]}.',
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which entities a plugin's own linker, or the dictionary linker of a knowledge base, finds in texts.

    Of a plugin that looks entries up in layers, nothing of this is put into a text.
    """
    if gold is not None and text:
        raise typer.BadParameter("pass texts to be linked, or --gold to measure by, not both.")
    opened = open_any(artifact, revision, subfolder)
    linker, kb = _linker(opened)
    if isinstance(opened, KnowledgePlugin) and not isinstance(opened.config.injection, TokenInjectionConfig):
        _say_what_links_are(opened)
    if gold is not None:
        _print_quality(_quality(linker, kb, gold), as_json)
        return
    for line in text or _lines():
        mentions = list(next(iter(linker([line]))))
        if as_json:  # an object a line, as texts come
            found = [m._asdict() | _generated(kb, m.entity_id) for m in mentions]
            typer.echo(json.dumps({"text": line, "mentions": found}, ensure_ascii=False))
            continue
        typer.echo(line)
        for m in mentions:
            entity = harmless(f"{m.entity_id} ({kb[m.entity_id].label}, {m.score:.2f})")
            typer.echo(f"  {line[m.start : m.end]} -> {entity}")
            for note in kb[m.entity_id].generated:
                typer.echo(f"    {harmless(note)}")
        if not mentions:
            typer.echo("  no mention")


def _generated(kb: KnowledgeBase, entity_id: str) -> dict[str, Any]:
    notes = kb[entity_id].generated
    return {"generated": list(notes)} if notes else {}


def _say_what_links_are(plugin: KnowledgePlugin) -> None:
    note = (
        f"note: {plugin.config.injection.method} puts nothing into a text. These names only tell training and "
        "evaluation which entry a row is about; what the model looks up, attachment.explain(text) says."
    )
    typer.echo(harmless(note), err=True)


def _linker(opened: KnowledgePlugin | KnowledgeBase) -> tuple[Linker, KnowledgeBase]:
    """Return the linker that a plugin attaches with, or one over the names of a knowledge base; and whose names."""
    if isinstance(opened, KnowledgeBase):
        return DictionaryLinker(opened), opened
    kb, linker = opened.knowledge_base, opened.default_linker()
    if linker is None:
        raise LinkingError(f"the mentions of {kb.config.name!r} come from elsewhere: the plugin has no linker.")
    return linker, kb


def _quality(linker: Linker, kb: KnowledgeBase, path: Path) -> LinkingQuality:
    rows = read_gold(path)
    marked = [mention.entity_id for row in rows for mention in row.mentions]
    if marked and not any(entity_id in kb for entity_id in marked):
        raise LinkingError(
            f"{path}: none of its entities is in {kb.config.name!r}: expected ids like {kb.entity_id(0)!r:.80}, found "
            f"ids like {marked[0]!r:.80}."
        )
    return score_linker(linker, rows)


def _print_quality(quality: LinkingQuality, as_json: bool) -> None:
    measured = {"spans": quality.spans, "spans and entities": quality.entities}
    if as_json:
        values: dict[str, Any] = {"texts": quality.texts}
        for name, m in measured.items():
            shares = {"precision": m.precision, "recall": m.recall, "f1": m.f1}
            values[name] = shares | m._asdict()
        print_json(values)
        return
    typer.echo(f"{quality.texts} texts, {quality.spans.gold} marked mentions, {quality.spans.found} found")
    rows = [(name, *map(_percent, (m.precision, m.recall, m.f1))) for name, m in measured.items()]
    print_table(("", "precision", "recall", "F1"), rows)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _lines() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise LinkingError(
                f"line {number} of standard input is not UTF-8: {error.reason} at byte {error.start}. "
                "Type: iconv -f latin1 -t utf-8 FILE | knowledge-plugin link ..."
            ) from error
