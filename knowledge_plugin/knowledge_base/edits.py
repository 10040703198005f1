"""Contents of a knowledge base, made of what was there and a change. Nothing on disk changes here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from knowledge_plugin.config import MAX_HISTORY, KnowledgeBaseConfig, VersionConfig
from knowledge_plugin.errors import KnowledgeBaseError, UnknownEntityError
from knowledge_plugin.knowledge_base.assembly import assemble, columns_of
from knowledge_plugin.knowledge_base.columns import numbers
from knowledge_plugin.knowledge_base.contents import Contents
from knowledge_plugin.knowledge_base.embedding_index import EmbeddingIndex
from knowledge_plugin.knowledge_base.entity import Entity
from knowledge_plugin.knowledge_base.tables import renewed_alias_table


def upserted(contents: Contents, entities: Iterable[Entity], embeddings: object, version: str | None) -> Contents:
    """Return contents with entities added or replaced; see :meth:`KnowledgeBase.upsert`."""
    new, count = columns_of(entities), contents.config.rows
    if not new.num_rows:
        return contents
    vectors = EmbeddingIndex.from_vectors(embeddings, new.num_rows, contents.config.dtype)
    if vectors.dim != contents.config.dim:
        raise KnowledgeBaseError(
            f"embeddings: expected vectors of width {contents.config.dim} like the others, found {vectors.dim}."
        )
    if pc.count_distinct(new["id"]).as_py() != new.num_rows:
        raise KnowledgeBaseError("upsert: an id occurs more than once among the new entities.")
    found = [contents.lookups.ids.row(entity_id) for entity_id in new["id"].to_pylist()]
    known = np.array([-1 if row is None else row for row in found])
    replaces, adds = np.flatnonzero(known >= 0), np.flatnonzero(known < 0)
    # Where the entity of each row is among the old ones followed by the new.
    places = np.concatenate([np.arange(count), count + adds])
    places[known[replaces]] = count + replaces
    columns = pa.concat_tables([contents.tables.columns(), new]).take(pa.array(places))
    aliases = renewed_alias_table(contents.tables.alias_table(), columns, places >= count)
    index = contents.index.with_rows(known[replaces], vectors.taken(replaces), vectors.taken(adds))
    step = VersionConfig(version, len(places), added=len(adds), replaced=len(replaces))
    return assemble(columns, index, _stepped(contents.config, step), aliases)


def without(contents: Contents, ids: Sequence[str], version: str | None) -> Contents:
    """Return contents without some entities; see :meth:`KnowledgeBase.remove`."""
    rows = [contents.lookups.ids.row(entity_id) if isinstance(entity_id, str) else None for entity_id in ids]
    if unknown := [entity_id for entity_id, row in zip(ids, rows, strict=True) if row is None]:
        raise UnknownEntityError(
            f"remove: {len(unknown)} of {len(ids)} ids are not in {contents.config.name!r}, for example "
            f"{unknown[0]!r:.200}. Nothing was removed."
        )
    kept = np.ones(contents.config.rows, bool)
    kept[np.array(rows, np.int64)] = False
    if kept.all():
        return contents
    if not kept.any():
        raise KnowledgeBaseError("remove: that would leave no entity at all. Nothing was removed.")
    old = contents.tables.alias_table()
    owner = numbers(old["row"])
    stays = pa.array(kept[owner])
    gone = old["alias"].filter(pc.invert(stays))
    moved = pa.array((np.cumsum(kept) - 1)[owner])
    old = old.set_column(old.column_names.index("row"), "row", moved).filter(stays)
    columns = contents.tables.columns().filter(pa.array(kept))
    aliases = renewed_alias_table(old, columns, np.zeros(columns.num_rows, bool), gone)
    step = VersionConfig(version, columns.num_rows, removed=int((~kept).sum()))
    return assemble(columns, contents.index.taken(torch.from_numpy(kept)), _stepped(contents.config, step), aliases)


def _stepped(config: KnowledgeBaseConfig, step: VersionConfig) -> KnowledgeBaseConfig:
    """Add a step to the history, which begins with how it was before the first change."""
    step = step if step.version is not None else replace(step, version=config.version)
    history = [*(config.history or [VersionConfig(config.version, config.rows)]), step]
    return replace(config, version=step.version, history=history[-MAX_HISTORY:])
