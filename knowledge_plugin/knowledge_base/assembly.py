"""Contents of a knowledge base, made of entities and vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa

from knowledge_plugin.config import KnowledgeBaseConfig, StorageDType
from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.knowledge_base.columns import nameless, popularity_order, to_columns
from knowledge_plugin.knowledge_base.contents import Contents, Lookups
from knowledge_plugin.knowledge_base.embedding_index import EmbeddingIndex
from knowledge_plugin.knowledge_base.entity import Entity
from knowledge_plugin.knowledge_base.lookup import IdLookup
from knowledge_plugin.knowledge_base.tables import Tables, alias_table, entity_table


def columns_of(entities: Iterable[Entity]) -> pa.Table:
    """Return entities as columns.

    Raises:
        KnowledgeBaseError: Something that is no :class:`Entity`, or a text that is not Unicode.
    """
    with _unicode_only():
        return to_columns(_listed(entities))


def by_popularity(columns: pa.Table, embeddings: object, dtype: StorageDType) -> tuple[pa.Table, EmbeddingIndex]:
    """Return entities and their vectors, the most popular first; of equal ones the first.

    Raises:
        KnowledgeBaseError: No entities, or vectors that do not fit.
    """
    if not columns.num_rows:
        raise KnowledgeBaseError("an empty knowledge base: expected at least one entity.")
    order = popularity_order(columns)
    index = EmbeddingIndex.from_vectors(embeddings, columns.num_rows, dtype, order)
    return (columns if order is None else columns.take(pa.array(order))), index


def assemble(
    columns: pa.Table, index: EmbeddingIndex, config: KnowledgeBaseConfig, aliases: pa.Table | None = None
) -> Contents:
    """Make contents in memory.

    Args:
        columns: The entities in row order.
        index: Their vectors.
        config: Whose name, licence and the like are taken; the counts are made.
        aliases: The table of names, ``None`` to make it from the entities.

    Raises:
        KnowledgeBaseError: An id twice, or an entity without a name.
    """
    if config.linker != "external" and len(rows := nameless(columns)):
        raise KnowledgeBaseError(
            f"{len(rows)} entities have no name, for example {columns['id'][int(rows[0])].as_py()!r}: nothing in a "
            "text could ever lead to them. Give a label or an alias, or say linker='external' if mentions come from "
            "elsewhere."
        )
    ids = IdLookup.build(columns["id"])
    tables = Tables(entity_table(columns), alias_table(columns) if aliases is None else aliases)
    count, names = tables.counts
    config = replace(config, rows=count, aliases=names, dim=index.dim, dtype=index.dtype, files={})
    return Contents(config, index, tables, Lookups(tables, config.name, ids=ids))


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
