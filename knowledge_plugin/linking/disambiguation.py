"""Which of the entities of one name is meant: by the other mentions of the text, or by its words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from knowledge_plugin.errors import LinkingError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking.mention import Mention


class Candidate(NamedTuple):
    """An entity that a mention may mean.

    Attributes:
        entity_id: The entity's id.
        prior: How likely the name means it, before anything is known of the text.
    """

    entity_id: str
    prior: float


class Choice(NamedTuple):
    """A span of a text and the entities that it may mean.

    Attributes:
        start: First character.
        end: One past the last character.
        candidates: At least one, the likeliest first.
    """

    start: int
    end: int
    candidates: tuple[Candidate, ...]


class Disambiguator(Protocol):
    """Scores the candidates of each mention: any function of texts and their mentions.

    Example:
        >>> def shortest_id(texts, choices):
        ...     return [[[-len(c.entity_id) for c in choice.candidates] for choice in row] for row in choices]
        >>> choice = Choice(0, 5, (Candidate("geo:paris-texas", 0.1), Candidate("geo:paris", 0.9)))
        >>> disambiguate(shortest_id, ["Paris"], [[choice]])
        [[Mention(start=0, end=5, entity_id='geo:paris', score=0.9)]]
    """

    def __call__(self, texts: list[str], choices: list[list[Choice]]) -> Iterable[Iterable[Iterable[float]]]:
        """Return for each text and each of its mentions a number per candidate; the highest is taken."""
        ...


def disambiguate(disambiguator: Disambiguator, texts: list[str], choices: list[list[Choice]]) -> list[list[Mention]]:
    """Take of each mention the candidate with the highest score; of equal ones, the likelier.

    Texts in which every mention has one candidate are not even shown to the disambiguator.

    Args:
        disambiguator: Scores candidates.
        texts: The texts.
        choices: The mentions of each text, with their candidates.

    Returns:
        The mentions of each text. Their score is the prior of the entity that was taken.

    Raises:
        LinkingError: The disambiguator did not give a number for each candidate.
    """
    open_texts = [i for i, row in enumerate(choices) if any(len(choice.candidates) > 1 for choice in row)]
    best = [[0] * len(row) for row in choices]
    if open_texts:
        asked = [choices[i] for i in open_texts]
        scores = [list(row) for row in disambiguator([texts[i] for i in open_texts], asked)]
        if len(scores) != len(asked):
            raise _broken(f"scores of {len(asked)} texts", f"of {len(scores)}")
        for i, row, row_scores in zip(open_texts, asked, scores, strict=True):
            if len(row_scores) != len(row):
                raise _broken(f"scores of {len(row)} mentions", f"of {len(row_scores)}")
            best[i] = [_highest(choice, numbers) for choice, numbers in zip(row, row_scores, strict=True)]
    return [
        [Mention(c.start, c.end, *c.candidates[k]) for c, k in zip(row, taken, strict=True)]
        for row, taken in zip(choices, best, strict=True)
    ]


def _highest(choice: Choice, scores: Iterable[float]) -> int:
    numbers = [float(score) for score in scores]
    if len(numbers) != len(choice.candidates) or any(map(math.isnan, numbers)):
        raise _broken(f"a number for each of {len(choice.candidates)} candidates", f"{numbers!r:.200}")
    return max(range(len(numbers)), key=numbers.__getitem__)  # the first of equal ones


def _broken(expected: str, found: str) -> LinkingError:
    return LinkingError(
        f"a disambiguator scores every candidate: expected {expected}, found {found}. Type: "
        "return [[[score(c) for c in choice.candidates] for choice in row] for row in choices]"
    )


class NeighbourDisambiguator:
    """Takes the entity whose vector lies nearest to those of the other mentions of the text.

    The score of a candidate is the cosine of its vector and the sum of the unit vectors of all candidates of the other
    mentions, each weighted with its prior: a mention that can mean one thing only says most. A text with no other
    mention leaves the choice to the prior. Nothing but the knowledge base is needed.

    Args:
        knowledge_base: Whose vectors; opened with them.
    """

    def __init__(self, knowledge_base: KnowledgeBase) -> None:
        self.knowledge_base = knowledge_base

    def __call__(self, texts: list[str], choices: list[list[Choice]]) -> list[list[np.ndarray]]:
        """Return a score for each candidate."""
        ids = sorted({c.entity_id for row in choices for choice in row for c in choice.candidates})
        units = _units(self.knowledge_base.vectors(self.knowledge_base.rows(ids)).numpy())
        place = {entity_id: i for i, entity_id in enumerate(ids)}
        return [self._scores(row, units, place) for row in choices]

    def _scores(self, row: list[Choice], units: np.ndarray, place: dict[str, int]) -> list[np.ndarray]:
        vectors = [units[[place[c.entity_id] for c in choice.candidates]] for choice in row]
        # Once for each set of candidates: a name that stands there twice says nothing of itself.
        views = {
            choice.candidates: np.array([c.prior for c in choice.candidates], np.float32) @ own
            for choice, own in zip(row, vectors, strict=True)
        }
        whole = np.sum(list(views.values()), axis=0)
        if len(views) == 1:
            return [np.zeros(len(own), np.float32) for own in vectors]
        return [own @ (whole - views[choice.candidates]) for choice, own in zip(row, vectors, strict=True)]


class DescriptionDisambiguator:
    """Takes the entity whose description is most like the text.

    Args:
        knowledge_base: Whose labels and descriptions; vectors are not needed.
        encode: From a list of texts to their vectors ``[n, dim]``, such as
            ``SentenceTransformer("all-MiniLM-L6-v2").encode`` (``pip install 'knowledge-plugin[text]'``).
    """

    def __init__(self, knowledge_base: KnowledgeBase, encode: Callable[[list[str]], Any]) -> None:
        self.knowledge_base = knowledge_base
        self.encode = encode

    def __call__(self, texts: list[str], choices: list[list[Choice]]) -> list[list[np.ndarray]]:
        """Return a score for each candidate: the cosine of the vectors of text and "label: description"."""
        ids = sorted(
            {c.entity_id for row in choices for choice in row for c in choice.candidates if len(choice.candidates) > 1}
        )
        units = _units(np.asarray(self.encode([*texts, *map(self._described, ids)]), np.float32))
        contexts, entities = units[: len(texts)], units[len(texts) :]
        place = {entity_id: i for i, entity_id in enumerate(ids)}
        return [
            [
                entities[[place[c.entity_id] for c in choice.candidates]] @ context
                if len(choice.candidates) > 1
                else np.zeros(1, np.float32)
                for choice in row
            ]
            for row, context in zip(choices, contexts, strict=True)
        ]

    def _described(self, entity_id: str) -> str:
        entity = self.knowledge_base[entity_id]
        return f"{entity.label}: {entity.description}" if entity.description else entity.label


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
