"""Vectors of entities that an embedding never saw, from those of their neighbours in the graph."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.knowledge_base.triples import checked_triples

_BLOCK = 65_536


class ComposedVectors(NamedTuple):
    """What :func:`compose_vectors` made.

    Attributes:
        ids: The entities that have a vector now, in the order in which they were asked for.
        vectors: float32 ``[n, dim]``.
        neighbours: From how many triples each of them was composed.
        missing: The entities that have none: no triple leads from them to an entity with a vector, over a relation
            with one.
    """

    ids: list[str]
    vectors: torch.Tensor
    neighbours: list[int]
    missing: list[str]


def compose_vectors(
    knowledge_base: KnowledgeBase,
    triples: Iterable[tuple[str, str, str]],
    entities: Iterable[str] | None = None,
    relations: Mapping[str, Any] | None = None,
) -> ComposedVectors:
    """Put together vectors of entities that have none, from triples that tie them to entities that have one.

    In the geometry of TransE a head and its relation add up to the tail. So each triple says where an entity should
    lie, at ``tail - relation`` if it is the head and at ``head + relation`` if it is the tail, and its vector is the
    mean of what its triples say. The two differences are those of DKPLM's pseudo tokens (Zhang et al., AAAI 2022),
    which takes one triple of each entity, and vectors that its language model makes; the mean over all triples is ours.

    What comes out lies in the space of the knowledge base, and a mapping that is trained on that serves it as it is.
    It is worth something only where relations are translations: with vectors of TransE, not of DistMult, ComplEx or
    RotatE. Lengths are left as they come out.

    Args:
        knowledge_base: Whose vectors the neighbours have. It may hold entities that are asked for; their own vectors
            serve others, and not themselves: what is composed is what it would be if they had none.
        triples: (head, relation, tail), also those among entities that have vectors if ``relations`` is ``None``.
            Repeated triples count once.
        entities: Ids to compose for; ``None``: all in the triples that the knowledge base does not have.
        relations: A vector for each relation, from the model that made those of the entities; ``None`` estimates them,
            as :func:`relation_vectors` does.

    Returns:
        Vectors for ``knowledge_base.upsert(...)``, and who is left without.

    Raises:
        KnowledgeBaseError: Something that is no triple of texts, or no list of ids; vectors of relations of another
            width, not finite, or of none of the relations.

    Example:
        >>> from knowledge_plugin import Entity, KnowledgeBase
        >>> towns = [Entity("x:graz", "Graz"), Entity("x:styria", "Styria"), Entity("x:tyrol", "Tyrol")]
        >>> kb = KnowledgeBase.from_entities(towns, [[1.0, 0.0], [1.0, 2.0], [5.0, 2.0]], name="towns")
        >>> triples = [("x:graz", "in", "x:styria"), ("x:hall", "in", "x:tyrol"), ("x:nowhere", "near", "x:elsewhere")]
        >>> composed = compose_vectors(kb, triples)
        >>> composed.ids, composed.vectors, composed.missing
        (['x:hall'], tensor([[5., 0.]]), ['x:elsewhere', 'x:nowhere'])
        >>> kb.upsert([Entity("x:hall", "Hall")], composed.vectors)
        >>> kb.best_entity("Hall")
        ('x:hall', 1.0)
    """
    if isinstance(entities, str):
        raise KnowledgeBaseError(f"entities: expected a list of ids, found the text {entities!r:.80}. Type: [entities]")
    rows = _Rows(knowledge_base)
    unique = _unique(triples)
    if entities is None:
        nodes = {node for head, _, tail in unique for node in (head, tail)}
        asked = sorted(node for node in nodes if rows.find(node) is None)
    else:
        asked = list(dict.fromkeys(entities))
    place = {entity_id: i for i, entity_id in enumerate(asked)}
    if relations is None:
        translations = _estimated(rows, unique, place)
    else:
        known = _checked(relations, {relation for _, relation, _ in unique}, knowledge_base.config.dim)
        translations = {(relation, None): vector for relation, vector in known.items()}
    own: list[int] = []
    neighbours: list[int] = []
    steps: list[tuple[torch.Tensor, int]] = []
    for head, relation, tail in unique:
        if head == tail:
            continue
        for entity_id, other, sign in ((head, tail, -1), (tail, head, 1)):
            if entity_id not in place or (row := rows.find(other)) is None:
                continue
            translation = translations.get((relation, entity_id), translations.get((relation, None)))
            if translation is not None:
                own.append(place[entity_id])
                neighbours.append(row)
                steps.append((translation, sign))
    sums = torch.zeros(len(asked), knowledge_base.config.dim, dtype=torch.float64)
    for start in range(0, len(own), _BLOCK):
        block = slice(start, start + _BLOCK)
        moved = torch.stack([sign * translation for translation, sign in steps[block]])
        sums.index_add_(0, torch.tensor(own[block]), rows.vectors(neighbours[block]) + moved)
    counts = torch.bincount(torch.tensor(own, dtype=torch.int64), minlength=len(asked))
    found = counts.nonzero().flatten().tolist()
    return ComposedVectors(
        ids=[asked[i] for i in found],
        vectors=(sums[found] / counts[found, None]).float(),
        neighbours=counts[found].tolist(),
        missing=[entity_id for entity_id, count in zip(asked, counts.tolist(), strict=True) if not count],
    )


def relation_vectors(knowledge_base: KnowledgeBase, triples: Iterable[tuple[str, str, str]]) -> dict[str, torch.Tensor]:
    """Estimate the vector of each relation: the mean of ``tail - head`` over its triples.

    Of all vectors this one has the smallest sum of squared distances ``head + relation - tail``. It needs nothing of
    the model that made the vectors of the entities.

    Args:
        knowledge_base: Whose vectors.
        triples: (head, relation, tail); those with an entity that the knowledge base does not have say nothing, nor
            those from an entity to itself. Repeated triples count once.

    Returns:
        float64 ``[dim]`` by relation, for those that occur between two entities of the knowledge base.

    Raises:
        KnowledgeBaseError: Something that is no triple of texts.

    Example:
        >>> from knowledge_plugin import Entity, KnowledgeBase
        >>> kb = KnowledgeBase.from_entities([Entity("x:1", "A"), Entity("x:2", "B")], [[1.0], [4.0]], name="ab")
        >>> relation_vectors(kb, [("x:1", "next", "x:2")])
        {'next': tensor([3.], dtype=torch.float64)}
    """
    means = _estimated(_Rows(knowledge_base), _unique(triples))
    return {relation: mean for (relation, _), mean in means.items() if mean is not None}


class _Rows:
    """Looks each id up once."""

    def __init__(self, knowledge_base: KnowledgeBase) -> None:
        self._knowledge_base = knowledge_base
        self.dim = knowledge_base.config.dim
        self._known: dict[str, int | None] = {}

    def find(self, entity_id: str) -> int | None:
        if entity_id not in self._known:
            self._known[entity_id] = self._knowledge_base.find_row(entity_id)
        return self._known[entity_id]

    def vectors(self, rows: Sequence[int]) -> torch.Tensor:
        return self._knowledge_base.vectors(torch.tensor(rows, dtype=torch.int64)).double()


def _unique(triples: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Check the triples; each is there once, in the order in which they came."""
    return list(dict.fromkeys(checked_triples(triples, KnowledgeBaseError)))


def _estimated(
    rows: _Rows, triples: Sequence[tuple[str, str, str]], without: Container[str] = ()
) -> dict[tuple[str, str | None], torch.Tensor | None]:
    """Return the mean of ``tail - head`` by relation, and by relation and entity the mean without that entity.

    Args:
        rows: Of the knowledge base.
        triples: Each is there once.
        without: The entities that have no part in what is estimated for them. Where they alone have a relation, there
            is ``None``.
    """
    number: dict[tuple[str, str | None], int] = {}
    numbers: list[int] = []
    heads: list[int] = []
    tails: list[int] = []
    for head, relation, tail in triples:
        if head != tail and (first := rows.find(head)) is not None and (last := rows.find(tail)) is not None:
            for end in (None, *(end for end in (head, tail) if end in without)):
                numbers.append(number.setdefault((relation, end), len(number)))
                heads.append(first)
                tails.append(last)
    sums = torch.zeros(len(number), rows.dim, dtype=torch.float64)
    for start in range(0, len(numbers), _BLOCK):
        block = slice(start, start + _BLOCK)
        sums.index_add_(0, torch.tensor(numbers[block]), rows.vectors(tails[block]) - rows.vectors(heads[block]))
    counts = torch.bincount(torch.tensor(numbers, dtype=torch.int64), minlength=len(number)).tolist()
    means: dict[tuple[str, str | None], torch.Tensor | None] = {}
    for (relation, end), i in number.items():
        total, count = sums[i], counts[i]
        if end is not None:
            whole = number[relation, None]
            total, count = sums[whole] - total, counts[whole] - count
        means[relation, end] = total / count if count else None
    return means


def _checked(relations: Mapping[str, Any], asked: set[str], dim: int) -> dict[str, torch.Tensor]:
    if not isinstance(relations, Mapping):
        raise KnowledgeBaseError(
            f"relations: expected a vector by relation, found {relations!r:.80}. Type: relations={{name: vector, ...}}"
        )
    found = {name: _vector(relations[name]) for name in asked & set(relations)}
    for name, vector in found.items():
        if vector is None or vector.shape != (dim,) or not vector.isfinite().all():
            shape = f"{relations[name]!r:.80}" if vector is None else list(vector.shape)
            raise KnowledgeBaseError(
                f"relations: expected a finite vector [{dim}] of {name!r:.80}, as wide as those of the entities, found "
                f"{shape}."
            )
    if asked and not found:
        raise KnowledgeBaseError(
            f"relations: expected vectors of {', '.join(map(repr, sorted(asked)[:5]))}, which the triples name, found "
            f"{', '.join(map(repr, list(relations)[:5])) or 'none'}. Leave relations out to have them estimated."
        )
    return {name: vector for name, vector in found.items() if vector is not None}


def _vector(values: Any) -> torch.Tensor | None:
    """Return numbers of any kind in float64; ``None`` if they are none."""
    if isinstance(values, torch.Tensor):
        return values.detach().to("cpu", torch.float64)
    try:
        return torch.from_numpy(np.array(values, dtype=np.float64))
    except (TypeError, ValueError, RuntimeError):
        return None
