"""Which entity of a knowledge base a probe is about, by its name; and vectors for those that it lacks."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from knowledge_plugin.building.embedders import Embedder, Source
from knowledge_plugin.errors import EvaluationError
from knowledge_plugin.evaluation.propagation.probes import EntityProbe
from knowledge_plugin.knowledge_base import Entity, KnowledgeBase
from knowledge_plugin.knowledge_base.assembly import columns_of
from knowledge_plugin.linking.mention import Mention
from knowledge_plugin.plugin import KnowledgePlugin


@dataclass(frozen=True)
class Coverage:
    """How far a knowledge base reaches into the probes.

    Attributes:
        rows: How many probes.
        linked: In how many of them an entity of the knowledge base is plugged in.
        unnamed: How many do not name their entity, so that nothing can be plugged in.
        behind: In how many the entity is named behind the blank alone, where a decoder has not read it yet.
        entities: How many entities the probes are about.
        known: How many of them the knowledge base had.
        added: How many an embedder added, from their definitions.
        missing: Names of those that have no vector.
    """

    rows: int
    linked: int
    unnamed: int
    behind: int
    entities: int
    known: int
    added: int
    missing: tuple[str, ...]

    def __str__(self) -> str:
        added = f", {self.added} were added from their definitions" if self.added else ""
        missing = f", {len(self.missing)} have no vector" if self.missing else ""
        rest = "".join(
            f"; {count} {what}"
            for count, what in (
                (self.unnamed, "rows do not name their entity"),
                (self.behind, "rows name it behind the blank alone, where a decoder has not read it"),
            )
            if count
        )
        return (
            f"Of {self.entities} entities, {self.known} are in the knowledge base{added}{missing}; {self.linked} of "
            f"{self.rows} rows have an entity plugged in{rest}."
        )


@dataclass(frozen=True)
class Resolved:
    """A plugin with all entities there are vectors for, and where they stand in each probe.

    Attributes:
        plugin: The plugin, or one with the same mapping and a larger knowledge base.
        ids: Of each probe, the id of its entity in that knowledge base; ``None`` if there is none.
        mentions: Of each probe, where that stands: none if there is no entity.
        coverage: The same in numbers.
    """

    plugin: KnowledgePlugin
    ids: tuple[str | None, ...]
    mentions: tuple[tuple[Mention, ...], ...]
    coverage: Coverage


def resolve(
    plugin: KnowledgePlugin, probes: Sequence[EntityProbe], embedder: Embedder | None = None, causal: bool = False
) -> Resolved:
    """Find the entities of probes by their names.

    Args:
        plugin: Whose knowledge base; it stays as it is.
        probes: The probes.
        embedder: Makes vectors of those that are not there, from their definitions; ``None`` leaves them out.
        causal: Whether the model reads from left to right alone.

    Raises:
        EvaluationError: The embedder gave what is no embedding of these entities.
        KnowledgeBaseError: Its vectors are of another width, or no numbers.
    """
    kb = plugin.knowledge_base
    by_name = {name: _find(kb, name) for name in dict.fromkeys(probe.entity for probe in probes)}
    # An entity may be told of in several ways: then each of them is an entry of its own.
    lacking = dict.fromkeys((p.entity_id, p.definition) for p in probes if by_name[p.entity] is None)
    names = {(p.entity_id, p.definition): p.entity for p in probes}
    added: dict[tuple[str, str], str] = {}
    if embedder is not None and lacking:
        entities: list[Entity] = []
        for number, key in enumerate(lacking):
            entities.append(Entity(f"probe:{number}:{key[0]}", names[key], description=key[1]))
        kb, there = _with(kb, entities, embedder)
        plugin = copy.copy(plugin)  # attached to nothing
        plugin.swap(kb)
        added = {key: entity.id for key, entity in zip(lacking, entities, strict=True) if entity.id in there}
    ids = tuple(by_name[p.entity] or added.get((p.entity_id, p.definition)) for p in probes)
    mentions = tuple(
        () if found is None else tuple(Mention(start, end, found) for start, end in probe.name_places())
        for probe, found in zip(probes, ids, strict=True)
    )
    places = [list(probe.name_places()) for probe in probes]
    behind = sum(bool(p) and all(start >= len(e.before) for start, _ in p) for p, e in zip(places, probes, strict=True))
    of_entities = {probe.entity_id: found for probe, found in zip(probes, ids, strict=True)}
    known = {probe.entity_id for probe in probes if by_name[probe.entity] is not None}
    coverage = Coverage(
        rows=len(probes),
        linked=sum(map(bool, mentions)),
        unnamed=sum(not found for found in places),
        behind=behind if causal else 0,
        entities=len(of_entities),
        known=len(known),
        added=sum(found is not None for key, found in of_entities.items() if key not in known),
        missing=tuple(dict.fromkeys(probe.entity for probe, found in zip(probes, ids, strict=True) if found is None)),
    )
    return Resolved(plugin, ids, mentions, coverage)


def _find(kb: KnowledgeBase, name: str) -> str | None:
    best = kb.best_entity(name) if kb.config.aliases else None
    return None if best is None else best[0]


def _with(kb: KnowledgeBase, entities: Sequence[Entity], embedder: Embedder) -> tuple[KnowledgeBase, set[str]]:
    """Return a copy of a knowledge base with more entities, and the ids of those that have a vector."""
    with tempfile.TemporaryDirectory() as folder:
        embedding = embedder(Source(columns_of(entities), None, Path(folder), progress=False))
        ids, vectors = list(embedding.ids), np.array(embedding.vectors, dtype=np.float32)
    by_id = {entity.id: entity for entity in entities}
    if len(ids) != len(vectors) or len(set(ids)) != len(ids) or not by_id.keys() >= set(ids):
        raise EvaluationError(
            f"embedder: expected a vector for each of the {len(by_id)} entities that it was given, or for some of "
            f"them, found {len(vectors)} vectors for {len(ids)} ids."
        )
    # The contents of a knowledge base are never changed, only replaced: two may share them.
    copied = KnowledgeBase(kb._contents)
    if ids:
        copied.upsert([by_id[i] for i in ids], vectors)
    return copied, set(ids)
