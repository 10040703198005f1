"""Contents of a knowledge base made of entities: from nothing, or from what was there and a change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa
import torch

from knowledge_plugin.config import KnowledgeBaseConfig, StorageDType
from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.knowledge_base.contents import Contents, Lookups
from knowledge_plugin.knowledge_base.embedding_index import EmbeddingIndex
from knowledge_plugin.knowledge_base.entity import Entity
from knowledge_plugin.knowledge_base.lookup import IdLookup
from knowledge_plugin.knowledge_base.tables import Tables, alias_table, entity_table, renewed_alias_table


def by_popularity(
    entities: Iterable[Entity], embeddings: object, dtype: StorageDType
) -> tuple[list[Entity], EmbeddingIndex]:
    """Return entities and their vectors, the most popular first; of equal ones the first.

    Raises:
        KnowledgeBaseError: No entities, something that is no :class:`Entity`, or vectors that do not fit.
    """
    given = _listed(entities)
    if not given:
        raise KnowledgeBaseError("an empty knowledge base: expected at least one entity.")
    index = EmbeddingIndex.from_vectors(embeddings, len(given), dtype)
    order = sorted(range(len(given)), key=lambda i: -(given[i].popularity or 0))
    if order == list(range(len(order))):
        return given, index
    return [given[i] for i in order], index.reordered(torch.tensor(order))


def assemble(
    entities: Sequence[Entity], index: EmbeddingIndex, config: KnowledgeBaseConfig, aliases: pa.Table | None = None
) -> Contents:
    """Make contents in memory.

    Args:
        entities: The entities in row order.
        index: Their vectors.
        config: Whose name, licence and the like are taken; the counts are made.
        aliases: The table of names, ``None`` to make it from the entities.

    Raises:
        KnowledgeBaseError: An id twice, a text that is not Unicode, or an entity without a name.
    """
    nameless = [entity.id for entity in entities if not entity.names]
    if nameless and config.linker != "external":
        raise KnowledgeBaseError(
            f"{len(nameless)} entities have no name, for example {nameless[0]!r}: nothing in a text could ever "
            "lead to them. Give a label or an alias, or say linker='external' if mentions come from elsewhere."
        )
    with _unicode_only():
        ids = IdLookup.build(entity.id for entity in entities)
        tables = Tables(entity_table(entities), alias_table(entities) if aliases is None else aliases)
    rows, names = tables.counts
    config = replace(config, rows=rows, aliases=names, dim=index.dim, dtype=index.dtype, files={})
    return Contents(config, index, tables, Lookups(tables, config.name, ids=ids))


def upserted(contents: Contents, entities: Iterable[Entity], embeddings: object) -> Contents:
    """Return contents with entities added or replaced; see :meth:`KnowledgeBase.upsert`."""
    new, count = _listed(entities), contents.config.rows
    if not new:
        return contents
    vectors = EmbeddingIndex.from_vectors(embeddings, len(new), "float32").gather(torch.arange(len(new)))
    if vectors.shape[1] != contents.config.dim:
        raise KnowledgeBaseError(
            f"embeddings: expected vectors of width {contents.config.dim} like the others, found {vectors.shape[1]}."
        )
    if len({entity.id for entity in new}) != len(new):
        raise KnowledgeBaseError("upsert: an id occurs more than once among the new entities.")
    merged = list(contents.tables.entities())
    table = torch.cat([contents.index.gather(torch.arange(count)), vectors])
    places = torch.arange(len(table))
    for i, entity in enumerate(new):
        row = contents.lookups.ids.row(entity.id)
        if row is None:
            row = len(merged)
            merged.append(entity)
        merged[row] = entity
        places[row] = count + i
    places = places[: len(merged)]
    index = EmbeddingIndex.from_vectors(table[places], len(merged), contents.config.dtype)
    changed = {i for i, place in enumerate(places.tolist()) if place >= count}
    with _unicode_only():
        aliases = renewed_alias_table(contents.tables.alias_table(), merged, changed)
    return assemble(merged, index, contents.config, aliases)


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
