"""Contents of a knowledge base from a folder, and into one."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from knowledge_plugin.config import (
    CONFIG_NAME,
    KNOWLEDGE_BASE_FOLDER,
    FileConfig,
    KnowledgeBaseConfig,
    KnowledgePluginConfig,
    read_config,
    to_json,
)
from knowledge_plugin.errors import ArtifactError, KnowledgePluginError
from knowledge_plugin.hub.card import write_card
from knowledge_plugin.hub.folder import check_sizes, describe_files, link_or_copy
from knowledge_plugin.knowledge_base.contents import Contents, Lookups, Source
from knowledge_plugin.knowledge_base.embedding_index import SHARD_PATTERN, EmbeddingIndex
from knowledge_plugin.knowledge_base.tables import ALIASES_NAME, ENTITIES_NAME, Tables


def open_folder(folder: Path, vectors: bool = True) -> Contents:
    """Open a folder: headers and sizes are read, no contents.

    Args:
        folder: The folder.
        vectors: Whether to open the vectors too; if not, they need not be there.

    Raises:
        ArtifactError: The folder is no knowledge base, or files are missing, truncated or of the wrong shape.
        ConfigError: Its ``config.json`` is malformed or out of bounds.
    """
    folder = folder.absolute()  # what is read later must not depend on where the process is then
    try:
        config = read_config(folder, KnowledgeBaseConfig)
    except ArtifactError as error:
        if ((inner := folder / KNOWLEDGE_BASE_FOLDER) / CONFIG_NAME).is_file():
            raise ArtifactError(f"{error} Type: KnowledgeBase.from_pretrained({str(inner)!r})") from None
        with suppress(KnowledgePluginError):
            read_config(folder, KnowledgePluginConfig)
            error = ArtifactError(f"{error} Type: KnowledgePlugin.from_pretrained({str(folder)!r}).knowledge_base")
        raise error from None
    for name in (ENTITIES_NAME, ALIASES_NAME):
        if name not in config.files:
            raise ArtifactError(f"{folder}: the config does not list {name}. Save or download the artifact again.")
    check_sizes(folder, config.files if vectors else without_vectors(config.files))
    tables = Tables(folder / ENTITIES_NAME, folder / ALIASES_NAME)
    if tables.counts != (config.rows, config.aliases):
        raise ArtifactError(
            f"{folder}: the config declares {config.rows} entities and {config.aliases} names, but the tables hold "
            f"{tables.counts[0]} and {tables.counts[1]}."
        )
    source = Source(folder, config)
    index = EmbeddingIndex.open(folder, config) if vectors else None
    return Contents(config, index, tables, Lookups(tables, folder, source), source)


def without_vectors(files: dict[str, FileConfig]) -> dict[str, FileConfig]:
    """Return the files that hold no vectors."""
    return {name: file for name, file in files.items() if not Path(name).match(SHARD_PATTERN)}


def write_folder(contents: Contents, folder: Path, final: Path) -> None:
    """Write contents into an empty folder.

    Files that were opened and are still what they were are not written again, but get a second name where the disk can
    do that: a checkpoint then costs no room, and no time.

    Args:
        contents: What to write.
        folder: Where it is being written.
        final: Where it belongs.

    Raises:
        ArtifactError: The files of the folder that was opened are no longer its own.
    """
    index = contents.index  # refuses a knowledge base that was opened without them
    if contents.source is None:
        # Tables first: writing them takes memory, and so do mapped vectors once they were read.
        names = contents.tables.save(folder) + index.save(folder)
        config = replace(contents.config, files=describe_files(folder, names))
    else:
        # Whatever else the config lists (a README that is rendered anew, a file of a later version) stays behind.
        own = [name for name in contents.config.files if _is_ours(name)]
        for name in own:
            _take_over(contents.source, name, folder / name)
        config = replace(contents.config, files={name: contents.config.files[name] for name in own})
    write_card(folder, final, "knowledge_base.md.j2", config=config, names=contents.tables.labels())
    (folder / CONFIG_NAME).write_text(to_json(config), encoding="utf-8")


def _is_ours(name: str) -> bool:
    return name in (ENTITIES_NAME, ALIASES_NAME) or Path(name).match(SHARD_PATTERN)


def _take_over(source: Source, name: str, destination: Path) -> None:
    path = source.folder / name
    if path.is_symlink():  # into the cache of huggingface_hub, which others may clear or mend
        shutil.copyfile(path, destination)
    else:
        link_or_copy(path, destination)
    try:
        source.check(name, destination)
    except ArtifactError as error:
        raise ArtifactError(
            f"{source.folder}: the files were altered since this knowledge base was opened or saved there; they are "
            "no longer its own. Open it again, or save before another writes into its folder."
        ) from error
