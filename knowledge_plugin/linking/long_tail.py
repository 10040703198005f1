"""Which mentions deserve knowledge: those of entities that a model cannot know well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from numbers import Real
from typing import Literal, NamedTuple, get_args

import torch

from knowledge_plugin.errors import LinkingError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.knowledge_base.triples import checked_triples
from knowledge_plugin.linking.mention import Linker, Mention, link, refuse_one_text

Keep = Literal["below", "above"]

_BATCH = 1000
_SMALLEST_COSINE = 0.01  # a text whose meaning is gone without the mention is as important as can be, not infinitely
_ROUNDING = 1e-6  # of equal scores, all are as high as their mean


class Judged(NamedTuple):
    """A mention, and what a :class:`LongTailLinker` thinks of it.

    Attributes:
        mention: The mention.
        frequency: How often its entity was counted; 0 if frequencies are not looked at.
        importance: What the text loses without the mention, from 1 (nothing) up; 1 if it is not looked at.
        connectivity: How many neighbours its entity has, at least 1; 1 if it is not looked at.
        score: Importance times connectivity; 0 of an entity that is not rare.
        kept: Whether the mention is linked.
    """

    mention: Mention
    frequency: int
    importance: float
    connectivity: int
    score: float
    kept: bool


class LongTailLinker:
    """Keeps of another linker's mentions those of the long tail: of entities that texts seldom name.

    An entity that a model has read about often is known to it, and a vector of it may do harm. The score is that of
    DKPLM (Zhang et al., AAAI 2022, "knowledge-aware long-tail entity detection"), of three signals, each of which may
    be missing: how often the entity is mentioned in texts, how much its mention means in its sentence, and how many
    neighbours it has in the graph::

        score = [frequency < rarer_than] * importance * connectivity
        importance = 1 / cosine(encode(text), encode(text without the mention))

    and a mention is kept whose score is no higher than the mean of its text.

    From the paper are the three signals, their product, and that what scores lower than average is taken. Its text was
    not at hand: the form of the importance, and the limits (rarer than 50, two hops, 1 to 150 neighbours), are as we
    recall them. Where the paper's rule says nothing, this is ours: entities that are not rare are never kept (their
    score of zero would be the lowest of all) and do not count for the mean; a score as high as the mean is kept, so
    that the only mention of a text is. DKPLM chose what to train on; here it is chosen what an attached plugin shows.

    Args:
        linker: Any linker.
        knowledge_base: Whose entities; mentions of others are dropped, as when a plugin is attached.
        frequency: How often each entity is mentioned, from :func:`count_entities` or from anywhere; an entity that
            is not in it was never mentioned. ``None`` takes all for rare.
        rarer_than: An entity is rare that is mentioned less often than this.
        encode: From a list of texts to their vectors ``[n, dim]``, such as ``SentenceTransformer(...).encode`` or a
            :class:`~knowledge_plugin.injection.word_vectors.WordEncoder`. ``None`` takes all mentions for equally
            important.
        mask: What stands in the place of a mention when it is taken away, such as the encoder's mask token.
        connectivity: How many neighbours each entity has, from :func:`count_neighbours`; an entity that is not in it
            counts as if it had one. ``None`` takes all for equally connected.
        keep: ``"below"`` (the paper's) keeps the scores up to the threshold, ``"above"`` those from it on: the mentions
            that mean much, of entities that much is known of.
        threshold: ``"mean"`` (the paper's) is the mean score of the text's rare mentions; a number is one for all
            texts.

    Raises:
        LinkingError: No linker, none of the signals, or one of another kind.

    Example:
        >>> from knowledge_plugin import Entity, KnowledgeBase
        >>> from knowledge_plugin.linking import DictionaryLinker
        >>> towns = [Entity("x:paris", "Paris"), Entity("x:orta", "Orta")]
        >>> kb = KnowledgeBase.from_entities(towns, [[0.0], [1.0]], name="towns")
        >>> every = DictionaryLinker(kb)
        >>> corpus = ["To Paris.", "Paris again.", "From Paris to Orta."]
        >>> linker = LongTailLinker(every, kb, frequency=count_entities(every, corpus), rarer_than=2)
        >>> linker(["A train from Orta to Paris"])
        [[Mention(start=13, end=17, entity_id='x:orta', score=1.0)]]
    """

    def __init__(
        self,
        linker: Linker,
        knowledge_base: KnowledgeBase,
        *,
        frequency: Mapping[str, int] | None = None,
        rarer_than: float = 50,
        encode: Callable[[list[str]], object] | None = None,
        mask: str = "",
        connectivity: Mapping[str, int] | None = None,
        keep: Keep = "below",
        threshold: Literal["mean"] | float = "mean",
    ) -> None:
        if not callable(linker):
            raise LinkingError(
                f"expected a linker, found {linker!r:.80}. Type: LongTailLinker(DictionaryLinker(kb), kb, ...)"
            )
        if frequency is None and encode is None and connectivity is None:
            raise LinkingError(
                "there is nothing to choose mentions by. Type: frequency=count_entities(linker, texts), or "
                "connectivity=count_neighbours(triples), or encode=..."
            )
        for name, counts in (("frequency", frequency), ("connectivity", connectivity)):
            if counts is not None and not isinstance(counts, Mapping):
                how = "count_entities(linker, texts)" if name == "frequency" else "count_neighbours(triples)"
                raise LinkingError(f"{name}: expected numbers by entity, found {counts!r:.80}. Type: {name}={how}")
        if encode is not None and not callable(encode):
            raise LinkingError(
                f"encode: expected a function, found {encode!r:.80}. Type: encode=SentenceTransformer(...).encode"
            )
        if not (_is_number(rarer_than) and rarer_than > 0):
            raise LinkingError(f"rarer_than: expected a number above 0, found {rarer_than!r:.80}.")
        if keep not in get_args(Keep):
            raise LinkingError(f"keep: expected 'below' or 'above', found {keep!r:.80}.")
        if threshold != "mean" and not (_is_number(threshold) and float(threshold) >= 0):
            raise LinkingError(f"threshold: expected 'mean' or a number from 0 up, found {threshold!r:.80}.")
        self.linker, self.knowledge_base = linker, knowledge_base
        self.frequency, self.rarer_than = frequency, rarer_than
        self.encode, self.mask = encode, mask
        self.connectivity = connectivity
        self.keep, self.threshold = keep, threshold

    def __call__(self, texts: list[str]) -> list[list[Mention]]:
        """Return the mentions of each text that are kept.

        Raises:
            LinkingError: The linker or the encoder did not do what it should.
            MentionError: A mention of the linker does not fit its text.
        """
        return [[judged.mention for judged in row if judged.kept] for row in self.judge(texts)]

    def judge(self, texts: list[str]) -> list[list[Judged]]:
        """Return all mentions of each text, what is known of them, and which are kept.

        Raises:
            LinkingError: As when it is called.
            MentionError: As when it is called.
        """
        found = link(self.linker, texts, self.knowledge_base.__contains__)
        seen = [[_number("frequency", self.frequency, m, 0) for m in row] for row in found]
        rare = [[count < self.rarer_than for count in row] for row in seen]
        importance = self._importance(texts, found, rare)
        return [self._judge_text(*of_text) for of_text in zip(found, seen, rare, importance, strict=True)]

    def _judge_text(
        self, mentions: list[Mention], seen: list[int], rare: list[bool], importance: list[float]
    ) -> list[Judged]:
        neighbours = [max(1, _number("connectivity", self.connectivity, m, 1)) for m in mentions]
        scores = [is_rare * i * n for is_rare, i, n in zip(rare, importance, neighbours, strict=True)]
        counted = [score for score, is_rare in zip(scores, rare, strict=True) if is_rare]
        if isinstance(self.threshold, str):
            limit = sum(counted) / len(counted) if counted else 0.0
        else:
            limit = self.threshold
        if self.keep == "below":
            fit = [score <= limit * (1 + _ROUNDING) for score in scores]
        else:
            fit = [score >= limit * (1 - _ROUNDING) for score in scores]
        return [
            Judged(mention, count, i, n, score, is_rare and fits)
            for mention, count, i, n, score, is_rare, fits in zip(
                mentions, seen, importance, neighbours, scores, rare, fit, strict=True
            )
        ]

    def _importance(self, texts: list[str], found: list[list[Mention]], rare: list[list[bool]]) -> list[list[float]]:
        """Return for each mention what its text loses without it; frequent entities are not asked about."""
        importance = [[1.0] * len(row) for row in found]
        places = [(i, k) for i, row in enumerate(rare) for k, is_rare in enumerate(row) if is_rare]
        if self.encode is None or not places:
            return importance
        without = [_without(texts[i], found[i][k], self.mask) for i, k in places]
        number = {text: n for n, text in enumerate(dict.fromkeys([*(texts[i] for i, _ in places), *without]))}
        vectors = _vectors(self.encode(list(number)))
        if vectors.dim() != 2 or len(vectors) != len(number) or not vectors.isfinite().all():
            raise LinkingError(
                f"encode: expected finite vectors [{len(number)}, dim], one for each text, found "
                f"{list(vectors.shape)}. Type: encode=SentenceTransformer(...).encode"
            )
        whole = vectors[[number[texts[i]] for i, _ in places]]
        rest = vectors[[number[text] for text in without]]
        cosines = torch.cosine_similarity(whole, rest).clamp(_SMALLEST_COSINE, 1).tolist()
        for (i, k), cosine in zip(places, cosines, strict=True):
            importance[i][k] = 1 / cosine
        return importance


def _is_number(value: object) -> bool:
    return isinstance(value, Real)


def _number(name: str, counts: Mapping[str, int] | None, mention: Mention, otherwise: int) -> int:
    count = otherwise if counts is None else counts.get(mention.entity_id, otherwise)
    if not _is_number(count):
        raise LinkingError(f"{name}: expected numbers by entity, found {count!r:.80} of {mention.entity_id!r:.80}.")
    return count


def _vectors(encoded: object) -> torch.Tensor:
    """Return what an encoder gave as one tensor; of shape ``[0]`` if it is no numbers."""
    try:
        if isinstance(encoded, (list, tuple)) and encoded and isinstance(encoded[0], torch.Tensor):
            encoded = torch.stack(list(encoded))
        return torch.as_tensor(encoded, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        return torch.zeros(0)


def _without(text: str, mention: Mention, mask: str) -> str:
    return text[: mention.start] + mask + text[mention.end :]


def count_entities(linker: Linker, texts: Iterable[str]) -> Counter[str]:
    """Count how often each entity is mentioned in texts, as a linker sees them.

    Give it texts like those that the language model was trained on. What it returns is a dictionary of numbers, which
    ``json.dump`` keeps for another day.

    Args:
        linker: The linker.
        texts: Any number of texts; a thousand are linked at a time.

    Returns:
        Number by entity id; an entity that no text mentions is not in it, and counts 0.

    Raises:
        LinkingError: The linker did not give the mentions of each text; or one text instead of several.
        MentionError: A mention does not fit its text.

    Example:
        >>> def linker(texts):
        ...     return [[Mention(i, i + 1, "x:a") for i, letter in enumerate(text) if letter == "a"] for text in texts]
        >>> count_entities(linker, ["a banana", "an egg"])
        Counter({'x:a': 5})
    """
    refuse_one_text(texts)
    counts: Counter[str] = Counter()
    remaining = iter(texts)
    while batch := list(islice(remaining, _BATCH)):
        counts.update(mention.entity_id for row in link(linker, batch) for mention in row)
    return counts


def count_neighbours(
    triples: Iterable[tuple[str, str, str]],
    entities: Iterable[str] | None = None,
    *,
    hops: int = 2,
    most: int = 150,
) -> dict[str, int]:
    """Count the entities that can be reached from each over a few edges, whatever their direction.

    Args:
        triples: (head, relation, tail).
        entities: Whose neighbours are counted; ``None``: those of everything in the triples.
        hops: Over how many edges.
        most: Nothing is counted further than this, which is what keeps a large graph quick.

    Returns:
        Number by entity id, from 0 to ``most``.

    Raises:
        LinkingError: ``hops`` or ``most`` is below 1, something is no triple of texts, or there is no list of ids.

    Example:
        >>> count_neighbours([("x:graz", "in", "x:styria"), ("x:styria", "in", "x:austria")], ["x:graz", "x:york"])
        {'x:graz': 2, 'x:york': 0}
    """
    for name, value in (("hops", hops), ("most", most)):
        if value < 1:
            raise LinkingError(f"{name}: expected a number from 1 up, found {value}.")
    if isinstance(entities, str):
        raise LinkingError(f"entities: expected a list of ids, found the text {entities!r:.80}. Type: [entities]")
    edges: dict[str, set[str]] = {}
    for head, _, tail in checked_triples(triples, LinkingError):
        edges.setdefault(head, set()).add(tail)
        edges.setdefault(tail, set()).add(head)
    return {entity: _reached(edges, entity, hops, most) for entity in (edges if entities is None else entities)}


def _reached(edges: dict[str, set[str]], start: str, hops: int, most: int) -> int:
    reached, border = {start}, {start}
    for _ in range(hops):
        before = border
        border = set()
        for entity in before:
            border |= edges.get(entity, set()) - reached
            if len(reached) + len(border) > most:
                return most
        reached |= border
    return len(reached) - 1
