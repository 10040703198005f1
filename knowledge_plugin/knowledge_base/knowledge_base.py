"""The knowledge base: entities, a vector each, and the names they go by."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch
from huggingface_hub import CommitInfo

from knowledge_plugin.config import (
    Case,
    EmbedderConfig,
    KnowledgeBaseConfig,
    KnowledgeBaseReference,
    LinkerKind,
    StorageDType,
)
from knowledge_plugin.errors import ArtifactError, KnowledgeBaseError, UnknownEntityError
from knowledge_plugin.hub.card import keep_words
from knowledge_plugin.hub.folder import check_sums, staged
from knowledge_plugin.hub.push import push_folder
from knowledge_plugin.hub.snapshot import check_sums_once, commit_of, resolve_folder
from knowledge_plugin.knowledge_base.ambiguity import Ambiguity, count_bearers
from knowledge_plugin.knowledge_base.assembly import assemble, by_popularity, columns_of
from knowledge_plugin.knowledge_base.columns import checked_columns
from knowledge_plugin.knowledge_base.contents import Contents
from knowledge_plugin.knowledge_base.edits import upserted, without
from knowledge_plugin.knowledge_base.embedding_index import SHARD_PATTERN, EmbeddingIndex
from knowledge_plugin.knowledge_base.entity import GENERATED, Entity
from knowledge_plugin.knowledge_base.lookup import AliasLookup, alias_key
from knowledge_plugin.knowledge_base.rows import row_number, row_numbers
from knowledge_plugin.knowledge_base.storage import open_folder, without_vectors, write_folder


def check_knowledge_base(value: object) -> None:
    """Refuse what is no knowledge base, such as the name of one.

    Raises:
        KnowledgeBaseError: It is none.

    Example:
        >>> check_knowledge_base("drugs-kb")
        Traceback (most recent call last):
        knowledge_plugin.errors.KnowledgeBaseError: expected a KnowledgeBase, found 'drugs-kb'. Type: \
KnowledgeBase.from_pretrained('drugs-kb')
    """
    if isinstance(value, KnowledgeBase):
        return
    if isinstance(value, (str, Path)):
        name = str(value)
        raise KnowledgeBaseError(
            f"expected a KnowledgeBase, found {name!r:.200}. Type: KnowledgeBase.from_pretrained({name!r:.200})"
        )
    inner = isinstance(getattr(value, "knowledge_base", None), KnowledgeBase)
    advice = "plugin.knowledge_base" if inner else "KnowledgeBase.from_pretrained(...)"
    raise KnowledgeBaseError(f"expected a KnowledgeBase, found {type(value).__name__}. Type: {advice}")


class _About(NamedTuple):
    """What is said of a knowledge base, and does not follow from its contents."""

    name: str
    id_scheme: str | None
    license: str | None
    version: str | None
    dtype: StorageDType
    linker: LinkerKind
    embedder: EmbedderConfig | None


class KnowledgeBase:
    """Entities with vectors and names. Make one with :meth:`from_entities` or :meth:`from_pretrained`.

    Threads may read while another one changes it: each call answers from before the change or from after it. Which
    entity has which row is private, and only ids are lasting.

    Example:
        >>> kb = KnowledgeBase.from_entities(
        ...     [Entity("x:1", "Ada", aliases=["A. Lovelace"]), Entity("x:2", "Bob")], [[1.0, 0.0], [0.0, 1.0]],
        ...     name="people", id_scheme="x", license="cc0-1.0", version="2026-01")
        >>> len(kb), kb["x:1"].label
        (2, 'Ada')
        >>> kb.vectors(kb.rows(["x:2"]))
        tensor([[0., 1.]])
    """

    def __init__(self, contents: Contents) -> None:
        # Put in place as a whole and never changed, so whoever reads it once needs no lock.
        self._contents = contents
        self._changing = threading.Lock()

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
        embedder: EmbedderConfig | None = None,
    ) -> KnowledgeBase:
        """Make a knowledge base in memory. The most popular entities come first when it is iterated over.

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
            embedder: How the vectors were made, and what was measured of that: for people, and the card.

        Raises:
            KnowledgeBaseError: No entities, something that is no :class:`Entity`, an id twice, rows that do not match,
                NaN or infinite vectors, or an entity without a name.
            ConfigError: A name, scheme, licence or version that is no text.
        """
        about = _About(name, id_scheme, license, version, dtype, linker, embedder)
        return cls._from_columns(columns_of(entities), embeddings, about)

    @classmethod
    def from_table(
        cls,
        entities: pa.Table,
        embeddings: object,
        *,
        name: str,
        id_scheme: str | None = None,
        license: str | None = None,
        version: str | None = None,
        dtype: StorageDType = "float32",
        linker: LinkerKind = "dictionary",
        embedder: EmbedderConfig | None = None,
    ) -> KnowledgeBase:
        """Make a knowledge base from columns: the same as :meth:`from_entities`, for millions of entities.

        Args:
            entities: A table with the columns ``id`` and ``label`` and, where there are any, ``aliases``
                (lists of texts), ``description``, ``types`` (lists of texts) and ``popularity``.
            embeddings: As in :meth:`from_entities`, or the path of a ``.npy`` file ``[entities, dim]``, which is mapped
                and not read into memory if it is float32 and the rows are in order of popularity.
            name: What it is called, for people.
            id_scheme: What the ids mean.
            license: Licence of the knowledge.
            version: Version or dump date.
            dtype: How vectors are stored.
            linker: As in :meth:`from_entities`.
            embedder: As in :meth:`from_entities`.

        Raises:
            KnowledgeBaseError: As in :meth:`from_entities`; or a column that is missing, unknown or of another type.
            ConfigError: A name, scheme, licence or version that is no text.

        Example:
            >>> table = pa.table({"id": ["x:1", "x:2"], "label": ["Ada", "Bob"], "popularity": [1, 2]})
            >>> KnowledgeBase.from_table(table, [[1.0, 0.0], [0.0, 1.0]], name="people").entity_id(0)
            'x:2'
        """
        about = _About(name, id_scheme, license, version, dtype, linker, embedder)
        return cls._from_columns(checked_columns(entities), embeddings, about)

    @classmethod
    def _from_columns(cls, columns: pa.Table, embeddings: object, about: _About) -> KnowledgeBase:
        ordered, index = by_popularity(columns, embeddings, about.dtype)
        return cls(
            assemble(ordered, index, KnowledgeBaseConfig(rows=len(index), dim=index.dim, aliases=0, **about._asdict()))
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        vectors: bool = True,
    ) -> KnowledgeBase:
        """Open a knowledge base from a folder, or from a dataset repo of the Hub.

        Only headers and sizes are read. Vectors are mapped from disk; ids and names are looked up in tries that are
        built on this machine the first time and kept in its cache. With ``vectors=False`` the vectors, by far the
        largest part, are not even downloaded: that is enough to link texts and to look up entities.

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
            leave_out=() if vectors else (SHARD_PATTERN,),
        )
        contents = open_folder(folder, vectors)
        if not Path(name_or_path).is_dir() and (commit := commit_of(folder)) is not None:
            check_sums_once(folder, contents.config.files if vectors else without_vectors(contents.config.files))
            contents = replace(contents, origin=KnowledgeBaseReference(str(name_or_path), commit))
        return cls(contents)

    @classmethod
    def _open(cls, folder: Path, vectors: bool = True) -> KnowledgeBase:
        return cls(open_folder(folder, vectors))

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
        contents = self._contents
        with tempfile.TemporaryDirectory() as folder:
            with staged(folder) as beside:
                write_folder(contents, beside, Path(folder))
            if contents.source is not None and commit_of(contents.source.folder) is None:
                keep_words(Path(folder), contents.source.folder)
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
        with self._changing:
            if not create_pr and self._contents is contents:  # what another thread has put there since was not pushed
                self._contents = replace(contents, origin=KnowledgeBaseReference(repo_id, commit.oid))
        return commit

    def _write(self, folder: Path, final: Path) -> None:
        write_folder(self._contents, folder, final)

    # ---- asking it -----------------------------------------------------------------------------------------------

    @property
    def config(self) -> KnowledgeBaseConfig:
        """What ``config.json`` says, or will say."""
        return self._contents.config

    @property
    def origin(self) -> KnowledgeBaseReference | None:
        """The commit in a dataset repo that holds these very contents; ``None`` after a change."""
        return self._contents.origin

    def __len__(self) -> int:
        return self.config.rows

    def __repr__(self) -> str:
        c = self.config
        return f"KnowledgeBase({c.name!r}, entities={c.rows}, aliases={c.aliases}, dim={c.dim}, dtype={c.dtype!r})"

    def __contains__(self, entity_id: object) -> bool:
        return self.find_row(entity_id) is not None

    def __getitem__(self, entity_id: str) -> Entity:
        contents = self._contents
        return contents.tables.entity(_row(contents, entity_id))

    def __iter__(self) -> Iterator[Entity]:
        """Iterate over the entities in row order."""
        return self._contents.tables.entities()

    def row(self, entity_id: str) -> int:
        """Return the row of one id.

        Raises:
            UnknownEntityError: There is no such entity.
        """
        return _row(self._contents, entity_id)

    def find_row(self, entity_id: object) -> int | None:
        """Return the row of one id, or ``None`` if there is no such entity."""
        return self._contents.lookups.ids.row(entity_id) if isinstance(entity_id, str) else None

    def rows(self, ids: Sequence[str]) -> torch.Tensor:
        """Return row numbers, int64 ``[n]``, of ``n`` ids.

        Raises:
            UnknownEntityError: One of them is not in the knowledge base.
        """
        if isinstance(ids, str):
            raise UnknownEntityError(
                f"rows: expected a list of ids, found the text {ids!r:.200}. Type: rows([{ids!r:.40}])"
            )
        contents = self._contents
        return torch.tensor([_row(contents, i) for i in ids], dtype=torch.int64)

    def entity_id(self, row: int) -> str:
        """Return the id of a row.

        Raises:
            UnknownRowError: There is no such row. It is an ``IndexError`` too.
        """
        contents = self._contents
        return contents.lookups.ids.id(row_number(row, contents.config.rows))

    def labels(self) -> Iterable[str]:
        """Return the labels in row order."""
        return self._contents.tables.labels()

    def names(self) -> Iterable[tuple[str, int, float]]:
        """Return every name with its row and its prior, in row order.

        Raises:
            ArtifactError: While iterating: a name leads to a row that is not there, or a prior is no share.
        """
        return self._contents.tables.names()

    def count_generated(self) -> int:
        """Count the entities of which a model generated facts: see :attr:`Entity.generated`."""
        return self._contents.tables.count_of_type(GENERATED)

    def count_described(self) -> int:
        """Count the entities that have a description."""
        return self._contents.tables.count_described()

    def count_other_names(self) -> int:
        """Count the names that entities have besides their labels.

        Example:
            >>> ada = Entity("x:1", "Ada", aliases=["A. Lovelace", "Ada"], description="a countess")
            >>> kb = KnowledgeBase.from_entities([ada, Entity("x:2", "Bob")], [[0.0], [1.0]], name="people")
            >>> kb.count_other_names(), kb.count_described()
            (1, 1)
        """
        return self._contents.tables.count_other_names()

    def alias_table(self) -> pa.Table:
        """Return every name as a table of ``alias``, ``row`` and ``prior``, in row order: :meth:`names` for millions.

        Nothing is checked of it: a damaged artifact may name rows that are not there.
        """
        return self._contents.tables.alias_table()

    def vectors(self, rows: object) -> torch.Tensor:
        """Return vectors, float32 ``[n, dim]`` on the CPU, of row numbers ``[n]`` (a tensor, array or list).

        Raises:
            UnknownRowError: A row is out of range. It is an ``IndexError`` too.
            KnowledgeBaseError: The rows are no list of whole numbers.
        """
        contents = self._contents
        return contents.index.gather(row_numbers(rows, contents.config.rows))

    @property
    def index(self) -> EmbeddingIndex:
        """The table of all vectors, as it is now; :meth:`upsert` puts another in its place."""
        return self._contents.index

    def alias_lookup(self, case: Case) -> AliasLookup:
        """Return the trie of names under a case policy, built or opened at the first call.

        Raises:
            ArtifactError: A name leads to a row that is not there, or a prior is no share.
        """
        return self._contents.lookups.aliases(case)

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
        contents, key = self._contents, alias_key(alias, case)
        candidates = contents.lookups.aliases(case).candidates(key) if key is not None else []
        for row, prior in candidates:
            if of_type is not None:
                if (types := contents.tables.types(row)) is None:
                    raise KnowledgeBaseError(
                        f"of_type={of_type!r:.80}: no entity of {contents.config.name!r} has types. Type: Entity(id, "
                        f"label, types=[{of_type!r:.80}]) where you make it, or ask without of_type."
                    )
                if of_type not in types:
                    continue
            return contents.lookups.ids.id(row), prior
        return None

    def verify(self) -> None:
        """Read every byte: checksums, ids that occur once, finite vectors, names that lead to rows.

        Raises:
            ArtifactError: Anything is not as the config declares.
        """
        contents = self._contents
        if contents.source is not None:
            check_sums(contents.source.folder, contents.source.files)
        ids = contents.lookups.ids  # builds the lookup of ids, or has built it: each of them once
        if (row := contents.index.find_unfit_row()) is not None:
            raise ArtifactError(f"the vector of {ids.id(row)!r} holds NaN or infinite values.")
        contents.lookups.aliases("insensitive")

    def ambiguity(self, case: Case = "insensitive", top: int = 5) -> Ambiguity:
        """Count how many names lead to more than one entity.

        Args:
            case: Whether spellings that differ in case alone are one name.
            top: How many of the names that lead to the most entities are listed.

        Example:
            >>> kb = KnowledgeBase.from_entities(
            ...     [Entity("x:1", "Paris"), Entity("x:2", "Paris"), Entity("x:3", "Rome")], [[0.0]] * 3, name="towns")
            >>> kb.ambiguity()
            Ambiguity(names=2, ambiguous=1, most_ambiguous=(('paris', 2),))
        """
        return count_bearers(self.alias_lookup(case), top)

    # ---- changing it ---------------------------------------------------------------------------------------------

    def upsert(self, entities: Iterable[Entity], embeddings: object, *, version: str | None = None) -> None:
        """Add entities, or replace those whose ids are here already; the mapping need not be trained again.

        An attached plugin sees the change at once, and as a whole. Priors of names that no changed entity bears stay
        as they are; the others are made anew from popularity. Old rows keep their numbers, new ones come last,
        however popular. Nothing on disk changes until :meth:`save_pretrained`, which writes the tables, a shard for
        what is new and the shards in which something was replaced; the other shards only get a second name.

        Args:
            entities: New or changed entities.
            embeddings: ``[n, dim]``, in their order.
            version: Version or dump date from now on; ``None`` leaves it. ``config.history`` keeps what was done.

        Raises:
            KnowledgeBaseError: As in :meth:`from_entities`, or vectors of another width. Nothing has changed then.
        """
        with self._changing:
            self._contents = upserted(self._contents, entities, embeddings, version)

    def remove(self, ids: Iterable[str], *, version: str | None = None) -> None:
        """Remove entities, their vectors and their names; the mapping need not be trained again.

        Rows are numbered anew, so what was tokenized with an attached plugin before has to be tokenized again.
        Nothing on disk changes until :meth:`save_pretrained`, which writes the tables and the shards that lost a row.

        Args:
            ids: Whom to remove.
            version: As in :meth:`upsert`.

        Raises:
            UnknownEntityError: One of them is not in the knowledge base. Nothing has changed then.
            KnowledgeBaseError: No entity would be left.
        """
        if isinstance(ids, str):
            raise UnknownEntityError(f"remove: expected a list of ids, found a text. Type: remove([{ids!r:.200}])")
        with self._changing:
            self._contents = without(self._contents, list(ids), version)

    def with_vectors(self, embeddings: object) -> KnowledgeBase:
        """Return a knowledge base of the same entities and names with other vectors ``[len(self), dim]``, in row order.

        This is how controls are made: shuffled or random vectors under the same names.
        """
        contents = self._contents
        index = EmbeddingIndex.from_vectors(embeddings, contents.config.rows, contents.config.dtype)
        config = replace(contents.config, dim=index.dim, embedder=None, files={})
        return KnowledgeBase(Contents(config, index, contents.tables, contents.lookups))

    def to_memory(self) -> None:
        """Read the vectors into memory."""
        with self._changing:
            self._contents = replace(self._contents, fetched=self._contents.index.to_memory())

    # ---- travelling between processes -----------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict) -> KnowledgeBase:
        return self  # gigabytes, and shared on purpose: a copied model reads the same knowledge

    def __reduce__(self) -> tuple:
        contents = self._contents
        if contents.source is not None:
            return _open_folder, (contents.source.folder,)
        tables = contents.tables
        return _rebuild, (contents.config, contents.index, tables.columns(), tables.alias_table())


def _row(contents: Contents, entity_id: object) -> int:
    ids = contents.lookups.ids
    if not isinstance(entity_id, str) or (row := ids.row(entity_id)) is None:
        raise UnknownEntityError(
            f"no entity {entity_id!r:.200} in {contents.config.name!r}; ids look like {ids.id(0)!r:.200}."
        )
    return row


# What pickles name.


def _open_folder(folder: Path) -> KnowledgeBase:
    return KnowledgeBase._open(folder)


def _rebuild(config: KnowledgeBaseConfig, index: EmbeddingIndex, columns: pa.Table, aliases: pa.Table) -> KnowledgeBase:
    return KnowledgeBase(assemble(columns, index, config, aliases))
