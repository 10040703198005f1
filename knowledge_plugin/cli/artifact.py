"""Commands that look into plugins and knowledge bases: ``inspect``, ``verify``, ``kb info``."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from knowledge_plugin.cli.output import AsJson, harmless, print_json, print_values, readable_size
from knowledge_plugin.config import KNOWLEDGE_BASE_FOLDER, KnowledgeBaseConfig, read_config
from knowledge_plugin.errors import ArtifactError, HubError, KnowledgePluginError
from knowledge_plugin.evaluation import count_unlinkable
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking import alias_statistics
from knowledge_plugin.plugin import KnowledgePlugin
from knowledge_plugin.verification import Verification, looks_untrained
from knowledge_plugin.verification import verify as verify_artifact

Artifact = Annotated[str, typer.Argument(metavar="REPO|FOLDER", help="A folder, or user/name on the Hub.")]
AtRevision = Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit of the repo.")]
InSubfolder = Annotated[str | None, typer.Option("--subfolder", help="Which of several plugins in one repo.")]


def open_plugin(
    name: str, revision: str | None = None, subfolder: str | None = None, vectors: bool = True
) -> KnowledgePlugin:
    """Open a plugin; of a knowledge base, say which command it is for."""
    try:
        return KnowledgePlugin.from_pretrained(name, revision=revision, subfolder=subfolder, vectors=vectors)
    except ArtifactError:
        if _is_knowledge_base(name):
            raise ArtifactError(
                f"{name} holds a knowledge-base, not a knowledge-plugin. Type: knowledge-plugin kb info {name}"
            ) from None
        raise


def _is_knowledge_base(name: str) -> bool:
    with suppress(KnowledgePluginError):
        read_config(name, KnowledgeBaseConfig)
        return True
    return False


def open_any(name: str, revision: str | None = None, subfolder: str | None = None) -> KnowledgePlugin | KnowledgeBase:
    """Open what is there under this name, without vectors: a plugin or a knowledge base, in a folder or on the Hub."""
    with suppress(KnowledgePluginError):
        read_config(name, KnowledgeBaseConfig)
        return KnowledgeBase.from_pretrained(name, vectors=False)
    try:
        return KnowledgePlugin.from_pretrained(name, revision=revision, subfolder=subfolder, vectors=False)
    except HubError:
        with suppress(HubError):
            return KnowledgeBase.from_pretrained(name, revision=revision, vectors=False)
        raise


def inspect(
    artifact: Artifact, revision: AtRevision = None, subfolder: InSubfolder = None, as_json: AsJson = False
) -> None:
    """Show what a plugin holds, and which model it is for."""
    plugin = open_plugin(artifact, revision, subfolder, vectors=False)
    values = _plugin_values(plugin)
    if as_json:
        print_json(values)
    else:
        print_values(artifact, _in_words(plugin, values))
        print_values("files", {name: readable_size(size) for name, size in values["files"].items()})


def _plugin_values(plugin: KnowledgePlugin) -> dict[str, Any]:
    base, reference = plugin.config.base_model, plugin.config.knowledge_base
    inner = plugin.knowledge_base.config.files if reference is None else {}
    files = {name: file.size for name, file in plugin.config.files.items()}
    files |= {f"{KNOWLEDGE_BASE_FOLDER}/{name}": file.size for name, file in inner.items()}
    values = {
        "base model": base.name,
        "base model revision": base.revision,
        "vocabulary": base.vocab_size,
        "embedding width": base.embedding_dim,
        "mapping": plugin.config.mapping.kind,
        "mapping parameters": sum(p.numel() for p in plugin.mapping.parameters()),
        "looks untrained": looks_untrained(plugin.mapping),
        "training": None if plugin.config.training is None else asdict(plugin.config.training),
        **asdict(plugin.config.injection),
        "knowledge base": None if reference is None else asdict(reference),
        "files": files,
    }
    return values | {f"kb {key}": value for key, value in _kb_values(plugin.knowledge_base).items()}


def _in_words(plugin: KnowledgePlugin, values: dict[str, Any]) -> dict[str, object]:
    config, kb = plugin.config, plugin.knowledge_base.config
    mapping = f"{config.mapping.kind}, {config.mapping.input_dim} to {config.mapping.output_dim}"
    mapping += f", {values['mapping parameters']} parameters"
    reference = config.knowledge_base
    learned = "trained" if config.training is None else f"learned by {config.training.objective!r}"
    if values["looks untrained"]:
        learned = "looks untrained" if config.training is None else f"{learned}, too little to be told from untrained"
    return {
        "made for": f"{config.base_model.name or 'an unnamed model'} ({config.base_model.vocab_size} words, "
        f"{config.base_model.embedding_dim} wide)",
        "mapping": f"{mapping}; {learned}",
        **config.injection.in_words(),
        "linker": "none: mentions must be given" if kb.linker == "external" else "dictionary, over the names",
        **_kb_in_words(plugin.knowledge_base),
        "lies in": "the plugin" if reference is None else f"{reference.repo_id}, at {reference.revision}",
    }


def _kb_in_words(kb: KnowledgeBase) -> dict[str, object]:
    config = kb.config
    return {
        "knowledge": f"{config.name}{f', {config.version}' if config.version else ''}",
        "entities": f"{config.rows}, with {config.aliases} names; ids like {kb.entity_id(0)}",
        "vectors": f"{config.dim} wide, {config.dtype}",
        "licence": config.license or "none stated",
    }


def kb_info(artifact: Artifact, revision: AtRevision = None, as_json: AsJson = False) -> None:
    """Show what a knowledge base holds: entities, width, storage, licence, and how ambiguous its names are.

    Names are counted as the dictionary linker compares them: without case.
    """
    inner = Path(artifact) / KNOWLEDGE_BASE_FOLDER
    kb = KnowledgeBase.from_pretrained(inner if inner.is_dir() else artifact, revision=revision, vectors=False)
    values = (
        _kb_values(kb)
        | _alias_values(kb)
        | {
            "names besides labels": kb.count_other_names(),
            "entities with a description": kb.count_described(),
            "unlinkable entities": count_unlinkable(kb),
            "entities with generated facts": kb.count_generated(),
        }
    )
    if as_json:
        print_json(values)
    else:
        listed = ", ".join(f"{name} ({count})" for name, count in values["most ambiguous names"])
        rate = f"{100 * values['ambiguity rate']:.1f} %"
        words = {"embedder": _embedder(kb), "history": _history(kb), "ambiguity rate": rate}
        print_values(artifact, values | words | {"most ambiguous names": listed or None})


def _embedder(kb: KnowledgeBase) -> str | None:
    if (embedder := kb.config.embedder) is None:
        return None
    measures = "".join(f", {name} {value:.3g}" for name, value in embedder.measures.items())
    return f"{embedder.name}{measures}"


def _history(kb: KnowledgeBase) -> str | None:
    """Return what became of a knowledge base, on one line: ``3 entities; 2026-12: 4 (1 added)``."""
    steps = []
    for step in kb.config.history:
        changes = [f"{getattr(step, name)} {name}" for name in ("added", "replaced", "removed") if getattr(step, name)]
        version = f"{step.version}: " if step.version else ""
        steps.append(f"{version}{step.rows} entities" + (f" ({', '.join(changes)})" if changes else ""))
    return "; ".join(steps) or None


def _alias_values(kb: KnowledgeBase) -> dict[str, Any]:
    found = alias_statistics(kb)
    return {
        "distinct names": found.aliases,
        "ambiguous names": found.ambiguous,
        "ambiguity rate": found.ambiguity_rate,
        "most ambiguous names": found.most_ambiguous,
        "names never linked": found.dropped,
    }


def _kb_values(kb: KnowledgeBase) -> dict[str, Any]:
    values = asdict(kb.config)
    files = values.pop("files")
    return {**values, "bytes": sum(item["size"] for item in files.values())}


def verify(
    artifact: Artifact, revision: AtRevision = None, subfolder: InSubfolder = None, as_json: AsJson = False
) -> None:
    """Read every byte of a plugin or a knowledge base, and list everything that is wrong with it.

    Exit code 1 if there are errors; warnings are no failure.
    """
    found = verify_artifact(artifact, revision=revision, subfolder=subfolder)
    if as_json:
        print_json(
            {"artifact": artifact, "kind": found.kind, "whole": found.whole} | {"findings": asdict(found)["findings"]}
        )
    else:
        _print_findings(found)
    if not found.whole:
        raise typer.Exit(1)


def _print_findings(found: Verification) -> None:
    typer.echo(f"{found.artifact}: {'whole' if found.whole else 'damaged'}{_counted(found)}")
    for finding in found.findings:
        typer.echo(harmless(f"  {finding.severity}: {finding.where}: {finding.message}"))


def _counted(found: Verification) -> str:
    severities = [finding.severity for finding in found.findings]
    counts = [(severities.count(s), s) for s in ("error", "warning")]
    text = " and ".join(f"{n} {severity}{'s' if n > 1 else ''}" for n, severity in counts if n)
    return f", {text}" if text else ""
