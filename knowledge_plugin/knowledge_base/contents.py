"""What a knowledge base holds at one moment, and the tries by which it is looked up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from knowledge_plugin.config import Case, KnowledgeBaseConfig, KnowledgeBaseReference
from knowledge_plugin.errors import ArtifactError, KnowledgeBaseError
from knowledge_plugin.hub.folder import check_sum
from knowledge_plugin.knowledge_base.embedding_index import EmbeddingIndex
from knowledge_plugin.knowledge_base.lookup import AliasLookup, AnyLookup, IdLookup, cached
from knowledge_plugin.knowledge_base.normalization import check_case
from knowledge_plugin.knowledge_base.tables import ALIASES_NAME, ENTITIES_NAME, Tables


class Source:
    """The folder that a knowledge base was opened from: its files are its contents as long as their sums are right.

    Args:
        folder: The folder.
        config: Its config.
    """

    def __init__(self, folder: Path, config: KnowledgeBaseConfig) -> None:
        self.folder = folder
        self.files = config.files
        self._checked: set[tuple] = set()

    def check(self, name: str, copy: Path | None = None) -> None:
        """Compare the sum of a file, or of its copy elsewhere, with the config; reads it once, and again if it changed.

        Raises:
            ArtifactError: It is not what was opened.
        """
        path = copy or self.folder / name
        state = path.stat()
        # Another name of a file that was read already is that very file.
        seen = (name, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
        if seen not in self._checked:
            check_sum(path, self.files[name])
            self._checked.add(seen)


class Lookups:
    """The tries of a pair of tables, each built or opened when it is asked for.

    Args:
        tables: What they are built from.
        where: What errors name: the folder, or the name of the knowledge base.
        source: Where the tables come from; the tries of what lies on disk are kept in the cache of this machine.
        ids: The trie of ids, if it is there already.
    """

    def __init__(
        self, tables: Tables, where: object, source: Source | None = None, ids: IdLookup | None = None
    ) -> None:
        self._tables = tables
        self._where = where
        self._source = source
        self._ids = ids
        self._aliases: dict[Case, AliasLookup] = {}
        self._lock = threading.RLock()

    @property
    def ids(self) -> IdLookup:
        """The trie of ids."""
        if (found := self._ids) is not None:
            return found
        with self._lock:
            if self._ids is None:
                self._ids = self._lookup(
                    IdLookup, ENTITIES_NAME, "ids", lambda: IdLookup.build(self._tables.id_column())
                )
            return self._ids

    def aliases(self, case: Case) -> AliasLookup:
        """Return the trie of names under a case policy.

        Raises:
            KnowledgeBaseError: No such case policy.
        """
        if (found := self._aliases.get(case)) is not None:
            return found
        check_case(case)
        with self._lock:
            if case not in self._aliases:
                self._aliases[case] = self._lookup(
                    AliasLookup, ALIASES_NAME, case, lambda: AliasLookup.build(self._tables.alias_table(), case)
                )
            return self._aliases[case]

    def _lookup(self, kind: type[AnyLookup], name: str, suffix: str, build: Callable[[], AnyLookup]) -> AnyLookup:
        count, source = self._tables.counts[0], self._source
        if source is None:
            built = build()
            built.check(count, self._where)
            return built

        def build_checked() -> AnyLookup:
            # The cache is keyed by the declared sum, so nothing may enter it whose sum is another.
            source.check(name)
            try:
                return build()
            except KnowledgeBaseError as error:
                raise ArtifactError(f"{source.folder / name}: {error}") from error

        return cached(kind, f"{source.files[name].sha256}-{suffix}", build_checked, count, self._where)


@dataclass(frozen=True, eq=False)
class Contents:
    """What a knowledge base holds at one moment. It never changes: who has it reads one state, not a mixture of two.

    Attributes:
        config: What ``config.json`` says, or will say.
        fetched: The vectors, ``None`` if they were left where they are.
        tables: Entities and names.
        lookups: The tries of the tables.
        source: The folder whose files these very contents are, ``None`` if there is none.
        origin: The commit in a dataset repo that holds these very contents, ``None`` if there is none.
    """

    config: KnowledgeBaseConfig
    fetched: EmbeddingIndex | None
    tables: Tables
    lookups: Lookups
    source: Source | None = None
    origin: KnowledgeBaseReference | None = None

    @property
    def index(self) -> EmbeddingIndex:
        """The vectors.

        Raises:
            ArtifactError: The knowledge base was opened without them.
        """
        if self.fetched is None:
            raise ArtifactError(
                f"the knowledge base {self.config.name!r} was opened without its vectors, to look at names alone. Open "
                "it again without vectors=False."
            )
        return self.fetched
