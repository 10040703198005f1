"""The knowledge base: entities, a vector each, and the names they go by."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from huggingface_hub import CommitInfo

from knowledge_plugin.config import (
    CONFIG_NAME,
    KNOWLEDGE_BASE_FOLDER,
    Case,
    KnowledgeBaseConfig,
    KnowledgeBaseReference,
    LinkerKind,
    StorageDType,
    read_config,
    to_json,
)
from knowledge_plugin.errors import ArtifactError, KnowledgeBaseError, UnknownEntityError
from knowledge_plugin.hub.card import write_card
from knowledge_plugin.hub.folder import check_sizes, check_sums, checksum, describe_files, staged
from knowledge_plugin.hub.push import push_folder
from knowledge_plugin.hub.snapshot import check_sums_once, commit_of, resolve_folder
from knowledge_plugin.knowledge_base.embedding_index import SHARD_PATTERN, EmbeddingIndex
from knowledge_plugin.knowledge_base.entity import Entity
from knowledge_plugin.knowledge_base.lookup import AliasLookup, IdLookup, cached, check_rows
from knowledge_plugin.knowledge_base.normalization import normalize
from knowledge_plugin.knowledge_base.tables import (
    ALIASES_NAME,
    ENTITIES_NAME,
    Tables,
    alias_table,
    entity_table,
    renewed_alias_table,
)


class KnowledgeBase:
    """Entities with vectors and names. Make one with :meth:`from_entities` or :meth:`from_pretrained`.

    Rows are in order of popularity; which entity has which row is private, and only ids are lasting.

    Example:
        >>> kb = KnowledgeBase.from_entities(
        ...     [Entity("x:1", "Ada", aliases=["A. Lovelace"]), Entity("x:2", "Bob")], [[1.0, 0.0], [0.0, 1.0]],
        ...     name="people", id_scheme="x", license="cc0-1.0", version="2026-01")
        >>> len(kb), kb["x:1"].label
        (2, 'Ada')
        >>> kb.vectors(kb.rows(["x:2"]))
        tensor([[0., 1.]])
    """

    def __init__(
        self, config: KnowledgeBaseConfig, index: EmbeddingIndex, tables: Tables, folder: Path | None = None
    ) -> None:
        self.config = config
        self._index = index
        self._tables = tables
        # The commit in a dataset repo that holds these very contents; None after a change.
        self.origin: KnowledgeBaseReference | None = None
        self._folder = folder  # the files there are these very contents; None after a change
        self._ids: IdLookup | None = None
        self._aliases: dict[Case, AliasLookup] = {}
        self._lock = threading.RLock()

    # ---- making one ----------------------------------------------------------------------------------------------

    @classmethod
    def from_entities(
        cls,
        entities: Iterable[Entity],
        embeddings: object,
        *,
        name: str,
        id_scheme: str | None = None,
        license: str | None = None,
        version: str | None = None,
        dtype: StorageDType = "float32",
        linker: LinkerKind = "dictionary",
    ) -> KnowledgeBase:
        """Make a knowledge base in memory.

        Args:
            entities: The entities.
            embeddings: Tensor, array or nested list ``[entities, dim]``, in the order of the entities.
            name: What it is called, for people.
            id_scheme: What the ids mean, for example ``"wikidata"``.
            license: Licence of the knowledge.
            version: Version or dump date.
            dtype: How vectors are stored: ``"float32"``, ``"float16"``, ``"bfloat16"``, or ``"int8"`` with a scale
                per row. They come back as float32.
            linker: ``"external"`` if mentions will come from elsewhere; only then may an entity lack a name.

        Raises:
            KnowledgeBaseError: No entities, something that is no :class:`Entity`, an id twice, rows that do not match,
                NaN or infinite vectors, or an entity without a name.
            ConfigError: A name, scheme, licence or version that is no text.
        """
        entities = _listed(entities)
        if not entities:
            raise KnowledgeBaseError("an empty knowledge base: expected at least one entity.")
        index = EmbeddingIndex.from_vectors(embeddings, len(entities), dtype)
        order = sorted(range(len(entities)), key=lambda i: -(entities[i].popularity or 0))
        ordered = [entities[i] for i in order]
        kb = cls._assemble(
            ordered,
            index if order == list(range(len(order))) else index.reordered(torch.tensor(order)),
            KnowledgeBaseConfig(
                name=name,
                rows=len(entities),
                dim=index.dim,
                aliases=0,
                dtype=dtype,
                id_scheme=id_scheme,
                license=license,
                version=version,
                linker=linker,
            ),
        )
        return kb

    @classmethod
    def _assemble(
        cls,
        entities: Sequence[Entity],
        index: EmbeddingIndex,
        config: KnowledgeBaseConfig,
        aliases: pa.Table | None = None,
    ) -> KnowledgeBase:
        nameless = [entity.id for entity in entities if not entity.names]
        if nameless and config.linker != "external":
            raise KnowledgeBaseError(
                f"{len(nameless)} entities have no name, for example {nameless[0]!r}: nothing in a text could ever "
                "lead to them. Give a label or an alias, or say linker='external' if mentions come from elsewhere."
            )
        with _unicode_only():
            ids = IdLookup.build(entity.id for entity in entities)
            tables = Tables(entity_table(entities), alias_table(entities) if aliases is None else aliases)
        rows, aliases = tables.counts
        kb = cls(replace(config, rows=rows, aliases=aliases, dim=index.dim, dtype=index.dtype, files={}), index, tables)
        kb._ids = ids
        return kb

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> KnowledgeBase:
        """Open a knowledge base from a folder, or from a dataset repo of the Hub.

        Only headers and sizes are read. Vectors are mapped from disk; ids and names are looked up in tries that are
        built on this machine the first time and kept in its cache.

        Raises:
            ArtifactError: The folder is no knowledge base, or files are missing, truncated or of the wrong shape.
            ConfigError: Its ``config.json`` is malformed or out of bounds.
            HubError: The repo, the revision or the network is not there.
        """
        folder = resolve_folder(
            name_or_path,
            repo_type="dataset",
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        kb = cls._open(folder)
        if not Path(name_or_path).is_dir() and (commit := commit_of(folder)) is not None:
            check_sums_once(folder, kb.config.files)
            kb.origin = KnowledgeBaseReference(str(name_or_path), commit)
        return kb

    @classmethod
    def _open(cls, folder: Path) -> KnowledgeBase:
        folder = folder.absolute()  # what is read later must not depend on where the process is then
        try:
            config = read_config(folder, KnowledgeBaseConfig)
        except ArtifactError as error:
            if ((inner := folder / KNOWLEDGE_BASE_FOLDER) / CONFIG_NAME).is_file():
                raise ArtifactError(f"{error} Type: KnowledgeBase.from_pretrained({str(inner)!r})") from None
            raise
        for name in (ENTITIES_NAME, ALIASES_NAME):
            if name not in config.files:
                raise ArtifactError(f"{folder}: the config does not list {name}. Save or download the artifact again.")
        check_sizes(folder, config.files)
        tables = Tables(folder / ENTITIES_NAME, folder / ALIASES_NAME)
        if tables.counts != (config.rows, config.aliases):
            raise ArtifactError(
                f"{folder}: the config declares {config.rows} entities and {config.aliases} names, but the tables hold "
                f"{tables.counts[0]} and {tables.counts[1]}."
            )
        return cls(config, EmbeddingIndex.open(folder, config), tables, folder)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json``, embeddings, tables and a card.

        Everything is written beside and renamed, ``config.json`` last: a save that is interrupted leaves the old
        artifact whole. A README.md that a person wrote or edited is kept.

        Raises:
            SaveError: The disk is full, the folder cannot be written, or it holds something else.
        """
        with staged(folder, replaces=(SHARD_PATTERN,)) as beside:
            self._write(beside, Path(folder))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        token: str | bool | None = None,
        commit_message: str | None = None,
    ) -> CommitInfo:
        """Push to a dataset repo, which is made if it is not there. Plugins made with it may share it from there.

        Args:
            repo_id: ``"user/name"``.
            private: Whether a repo that is made is private; ``None`` for the user's default.
            revision: Branch, made if it is not there; ``None`` for main.
            create_pr: Open a pull request instead.
            token: Access token, or ``None`` for the one that is logged in.
            commit_message: First line of the commit.

        Returns:
            What huggingface_hub says of the commit. A push that changes nothing makes none.

        Raises:
            HubError: No access, no network, someone else pushed at the same time, or the Hub failed.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            commit = push_folder(
                Path(folder),
                repo_id,
                repo_type="dataset",
                private=private,
                revision=revision,
                create_pr=create_pr,
                token=token,
                commit_message=commit_message,
                replaces=(SHARD_PATTERN,),
            )
        if not create_pr:
            self.origin = KnowledgeBaseReference(repo_id, commit.oid)
        return commit

    def _write(self, folder: Path, final: Path) -> None:
        if self._folder is not None:
            # Whatever else the config lists (a README that is rendered anew, a file of a later version) stays behind.
            tables = (ENTITIES_NAME, ALIASES_NAME)
            names = [name for name in self.config.files if name in tables or Path(name).match(SHARD_PATTERN)]
            for name in names:
                shutil.copyfile(self._folder / name, folder / name)
        else:
            names = self._index.save(folder) + self._tables.save(folder)
        config = replace(self.config, files=describe_files(folder, names))
        if self._folder is not None and not config.files.items() <= self.config.files.items():
            raise ArtifactError(
                f"{self._folder}: the files were altered since this knowledge base was opened or saved there; they are "
                "no longer its own. Open it again, or save before another writes into its folder."
            )
        write_card(folder, final, "knowledge_base.md.j2", config=config)
        (folder / CONFIG_NAME).write_text(to_json(config), encoding="utf-8")

    # ---- asking it -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.config.rows

    def __repr__(self) -> str:
        c = self.config
        return f"KnowledgeBase({c.name!r}, entities={c.rows}, aliases={c.aliases}, dim={c.dim}, dtype={c.dtype!r})"

    def __contains__(self, entity_id: object) -> bool:
        return isinstance(entity_id, str) and self._id_lookup.row(entity_id) is not None

    def __getitem__(self, entity_id: str) -> Entity:
        return self._tables.entity(self.row(entity_id))

    def __iter__(self) -> Iterator[Entity]:
        """Iterate over the entities in row order."""
        return self._tables.entities()

    def row(self, entity_id: str) -> int:
        """Return the row of one id.

        Raises:
            UnknownEntityError: There is no such entity.
        """
        row = self._id_lookup.row(entity_id) if isinstance(entity_id, str) else None
        if row is None:
            raise UnknownEntityError(
                f"no entity {entity_id!r:.200} in {self.config.name!r}; ids look like {self.entity_id(0)!r:.200}."
            )
        return row

    def find_row(self, entity_id: str) -> int | None:
        """Return the row of one id, or ``None``."""
        return self._id_lookup.row(entity_id)

    def rows(self, ids: Sequence[str]) -> torch.Tensor:
        """Return row numbers, int64 ``[n]``, of ``n`` ids.

        Raises:
            UnknownEntityError: One of them is not in the knowledge base.
        """
        if isinstance(ids, str):
            raise UnknownEntityError(
                f"rows: expected a list of ids, found the text {ids!r:.200}. Type: rows([{ids!r:.40}])"
            )
        return torch.tensor([self.row(i) for i in ids], dtype=torch.int64)

    def entity_id(self, row: int) -> str:
        """Return the id of a row."""
        return self._id_lookup.id(row)

    def labels(self) -> Iterable[str]:
        """Return the labels in row order."""
        return self._tables.labels()

    def names(self) -> Iterable[tuple[str, int, float]]:
        """Return every name with its row and its prior, in row order."""
        return self._tables.names()

    def vectors(self, rows: object) -> torch.Tensor:
        """Return vectors, float32 ``[n, dim]`` on the CPU, of row numbers ``[n]`` (a tensor, array or list).

        Raises:
            KnowledgeBaseError: A row is out of range, or the rows are no list of whole numbers.
        """
        numbers = rows.cpu() if isinstance(rows, torch.Tensor) else _whole_numbers(rows)
        if numbers.ndim != 1 or numbers.is_floating_point():
            raise KnowledgeBaseError(f"rows: expected whole numbers [n], found {list(numbers.shape)} {numbers.dtype}.")
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(self):
            raise KnowledgeBaseError(
                f"rows: expected numbers from 0 to {len(self) - 1}, found {int(numbers.min())} to {int(numbers.max())}."
            )
        return self._index.gather(numbers.long())

    @property
    def index(self) -> EmbeddingIndex:
        """The table of all vectors, as it is now; :meth:`upsert` puts another in its place."""
        return self._index

    def alias_lookup(self, case: Case) -> AliasLookup:
        """Return the trie of names under a case policy, built or opened at the first call."""
        with self._lock:
            if case not in self._aliases:
                lookup = self._lookup(
                    AliasLookup, ALIASES_NAME, case, lambda: AliasLookup.build(self._tables.names(), case)
                )
                check_rows(lookup, len(self), self._folder or self.config.name)
                self._aliases[case] = lookup
            return self._aliases[case]

    def best_entity(
        self, alias: str, case: Case = "insensitive", *, of_type: str | None = None
    ) -> tuple[str, float] | None:
        """Return the id of the entity that a name most likely means, with its prior, or ``None`` for no one's name.

        A linker that has found where a name stands asks this for whose name it is.

        Args:
            alias: The whole name, in any normal form of Unicode, with or without blanks around it.
            case: ``"insensitive"`` (the default) ignores case, ``"sensitive"`` does not.
            of_type: Only entities with this among their types. The prior stays the share among all that bear the name.

        Raises:
            KnowledgeBaseError: ``of_type`` is given, and the knowledge base knows no types.

        Example:
            >>> state = Entity("x:state", "Washington", types=["region"], popularity=6)
            >>> george = Entity("x:george", "Washington", types=["human"], popularity=0)
            >>> kb = KnowledgeBase.from_entities([state, george], [[0.0], [1.0]], name="names")
            >>> kb.best_entity("washington")
            ('x:state', 0.875)
            >>> kb.best_entity("washington", of_type="human")
            ('x:george', 0.125)
        """
        lookup, key = self.alias_lookup(case), normalize(alias, case).strip()
        if of_type is None:
            best = lookup.best(key)
            return None if best is None else (self.entity_id(best[0]), best[1])
        for row, prior in lookup.candidates(key):
            if (types := self._tables.types(row)) is None:
                raise KnowledgeBaseError(
                    f"of_type={of_type!r:.80}: no entity of {self.config.name!r} has types. "
                    f"Type: Entity(id, label, types=[{of_type!r:.80}]) where you make it, or ask without of_type."
                )
            if of_type in types:
                return self.entity_id(row), prior
        return None

    @property
    def _id_lookup(self) -> IdLookup:
        if self._ids is None:
            with self._lock:
                self._ids = self._lookup(IdLookup, ENTITIES_NAME, "ids", lambda: IdLookup.build(self._tables.ids()))
            if len(self._ids.trie) != len(self):
                raise ArtifactError(f"{self._folder}: expected {len(self)} ids, found {len(self._ids.trie)}.")
        return self._ids

    def _lookup(self, kind: type, source: str, suffix: str, build: Callable[[], object]):  # type: ignore[no-untyped-def]
        if self._folder is None:
            return build()
        folder, declared = self._folder, self.config.files[source].sha256

        def build_checked() -> object:
            # The cache is keyed by the declared sum, so nothing may enter it whose sum is another.
            if checksum(folder / source) != declared:
                raise ArtifactError(
                    f"{folder / source} does not have the checksum that the config declares: the file was altered. "
                    "Download or save the artifact again."
                )
            try:
                return build()
            except KnowledgeBaseError as error:
                raise ArtifactError(f"{folder / source}: {error}") from error

        return cached(kind, f"{declared}-{suffix}", build_checked)  # type: ignore[arg-type]

    def verify(self) -> None:
        """Read every byte: checksums, ids that occur once, finite vectors, names that lead to rows.

        Raises:
            ArtifactError: Anything is not as the config declares.
        """
        if self._folder is not None:
            check_sums(self._folder, self.config.files)
        self.find_row("")  # builds the lookup of ids, or has built it: each of them once
        if (row := self._index.find_unfit_row()) is not None:
            raise ArtifactError(f"the vector of {self.entity_id(row)!r} holds NaN or infinite values.")
        self.alias_lookup("insensitive")

    # ---- changing it ---------------------------------------------------------------------------------------------

    def upsert(self, entities: Iterable[Entity], embeddings: object) -> None:
        """Add entities, or replace those whose ids are here already; the mapping need not be trained again.

        An attached plugin sees the change at once. Priors of names that no changed entity bears stay as they are; the
        others are made anew from popularity. Old rows keep their numbers, new ones come last. The whole
        knowledge base is read into memory; nothing on disk changes until :meth:`save_pretrained`.

        Args:
            entities: New or changed entities.
            embeddings: ``[n, dim]``, in their order.

        Raises:
            KnowledgeBaseError: As in :meth:`from_entities`, or vectors of another width. Nothing has changed then.
        """
        new = _listed(entities)
        vectors = (
            EmbeddingIndex.from_vectors(embeddings, len(new), "float32").gather(torch.arange(len(new))) if new else None
        )
        if vectors is None:
            return
        if vectors.shape[1] != self.config.dim:
            raise KnowledgeBaseError(
                f"embeddings: expected vectors of width {self.config.dim} like the others, found {vectors.shape[1]}."
            )
        if len({entity.id for entity in new}) != len(new):
            raise KnowledgeBaseError("upsert: an id occurs more than once among the new entities.")
        with self._lock:
            merged = list(self._tables.entities())
            table = torch.cat([self._index.gather(torch.arange(len(self))), vectors])
            places = torch.arange(len(table))
            for i, entity in enumerate(new):
                row = self._id_lookup.row(entity.id)
                if row is None:
                    row = len(merged)
                    merged.append(entity)
                merged[row] = entity
                places[row] = len(self) + i
            index = EmbeddingIndex.from_vectors(table[places[: len(merged)]], len(merged), self.config.dtype)
            changed = {i for i, place in enumerate(places[: len(merged)].tolist()) if place >= len(self)}
            with _unicode_only():
                aliases = renewed_alias_table(self._tables.alias_table(), merged, changed)
            fresh = self._assemble(merged, index, self.config, aliases)
            self.__dict__.update({k: v for k, v in fresh.__dict__.items() if k != "_lock"})

    def with_vectors(self, embeddings: object) -> KnowledgeBase:
        """Return a knowledge base of the same entities and names with other vectors ``[len(self), dim]``, in row order.

        This is how controls are made: shuffled or random vectors under the same names.
        """
        index = EmbeddingIndex.from_vectors(embeddings, len(self), self.config.dtype)
        other = KnowledgeBase(replace(self.config, dim=index.dim, files={}), index, self._tables)
        other._ids, other._aliases = self._id_lookup, dict(self._aliases)
        return other

    def to_memory(self) -> None:
        """Read the vectors into memory."""
        self._index = self._index.to_memory()

    # ---- travelling between processes -----------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict) -> KnowledgeBase:
        return self  # gigabytes, and shared on purpose: a copied model reads the same knowledge

    def __reduce__(self) -> tuple:
        if self._folder is not None:
            return _open_folder, (self._folder,)
        return _rebuild, (self.config, self._index, list(self._tables.entities()), self._tables.alias_table())


@contextmanager
def _unicode_only() -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError as error:
        raise KnowledgeBaseError(
            f"a text that is not Unicode (half a surrogate pair): {error.object!r:.200}."
        ) from error


def _listed(entities: Iterable[Entity]) -> list[Entity]:
    if isinstance(entities, Entity):
        raise KnowledgeBaseError("expected a list of entities, found a single one. Type: [entity]")
    if not isinstance(entities, Iterable):
        raise KnowledgeBaseError(f"expected a list of entities, found {entities!r:.80}.")
    listed = list(entities)
    for i, entity in enumerate(listed):
        if not isinstance(entity, Entity):
            arguments = "**row" if isinstance(entity, dict) else "*row" if isinstance(entity, tuple) else "id, label"
            raise KnowledgeBaseError(
                f"entities[{i}]: expected an Entity, found {type(entity).__name__} ({entity!r:.80}). "
                f"Type: Entity({arguments})"
            )
    return listed


def _whole_numbers(rows: object) -> torch.Tensor:
    try:
        numbers = np.asarray(rows)
    except ValueError as error:
        raise KnowledgeBaseError(f"rows: expected whole numbers [n]: {error}") from error
    if numbers.size and numbers.dtype.kind not in "iu":
        raise KnowledgeBaseError(f"rows: expected whole numbers [n], found {list(numbers.shape)} {numbers.dtype}.")
    return torch.from_numpy(numbers.astype(np.int64))  # int64 even if empty


def _open_folder(folder: Path) -> KnowledgeBase:
    return KnowledgeBase._open(folder)


def _rebuild(
    config: KnowledgeBaseConfig, index: EmbeddingIndex, entities: list[Entity], aliases: pa.Table
) -> KnowledgeBase:
    return KnowledgeBase._assemble(entities, index, config, aliases)
