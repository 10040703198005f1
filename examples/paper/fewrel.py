"""FewRel: which of N relations a sentence states, from K examples of each; or plain relation classification."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from examples.paper.marking import HEAD, TAIL, Span, mark_words
from examples.paper.sources import DataError, Row, Source, entity_id, expect, find_file, read_json, rows_of, take

_FILES = {"train": ("train_wiki.json", "train.json"), "dev": ("val_wiki.json", "val.json")}
# What a Hub dataset calls the parts of an entity, in the order in which the files give them.
_ENTITY_FIELDS = ("text", "type", "indices")


class Episode(TypedDict):
    """One question of an episode: which of N relations does the query state?

    ``supports`` holds K sentences of each of the N relations, ``label`` says which is the query's.
    """

    query: Row
    supports: list[list[Row]]
    label: int


def read_fewrel(source: Source, split: str) -> dict[str, list[Row]]:
    """Read the sentences of each relation.

    Args:
        source: A folder with ``train_wiki.json`` and ``val_wiki.json`` (an object of relations, each with a list of
            ``tokens``, ``h`` and ``t``: name, id, and word numbers of each occurrence); or a dataset with the columns
            ``relation``, ``tokens``, ``head`` and ``tail`` (``text``, ``type``, ``indices``). The test set is not
            public: the published figures come from its owners' server.
        split: ``"train"`` or ``"dev"``. They share no relation.

    Raises:
        DataError: Something else stands there. The message names the file, the relation and its sentence.
    """
    relations: dict[str, list[Row]] = {}
    for where, relation, record in _records(source, split):
        words = take(record, "tokens", list, where)
        ends = [("h", "head", HEAD), ("t", "tail", TAIL)]
        spans = [_span(record.get(short, record.get(long)), marker, where) for short, long, marker in ends]
        text, mentions = mark_words(words, spans, where)
        relations.setdefault(relation, []).append({"text": text, "label": 0, "mentions": mentions})
    for label, rows in enumerate(relations.values()):
        for row in rows:
            row["label"] = label
    return relations


def episodes(
    relations: Mapping[str, Sequence[Row]], *, ways: int, shots: int, count: int, queries: int = 5, seed: int = 0
) -> list[Episode]:
    """Draw episodes: N relations, and of each K sentences to learn from and some to ask about.

    Args:
        relations: The sentences of each relation.
        ways: N.
        shots: K.
        count: How many episodes; each gives ``ways * queries`` questions.
        queries: Questions for each relation.
        seed: Of the draws.

    Raises:
        DataError: There are too few relations, or sentences of one.
    """
    enough = sorted(name for name, rows in relations.items() if len(rows) >= shots + queries)
    if len(enough) < ways:
        raise DataError(
            f"{ways}-way {shots}-shot with {queries} queries: expected {ways} relations of {shots + queries} sentences "
            f"or more, found {len(enough)}."
        )
    rng = random.Random(seed)
    drawn: list[Episode] = []
    for _ in range(count):
        sentences = [rng.sample(relations[name], shots + queries) for name in rng.sample(enough, ways)]
        supports = [rows[:shots] for rows in sentences]
        for label, rows in enumerate(sentences):
            drawn += [{"query": row, "supports": supports, "label": label} for row in rows[shots:]]
    return drawn


def classification(
    relations: Mapping[str, Sequence[Row]], *, test_share: float = 0.2, seed: int = 0
) -> tuple[list[Row], list[Row]]:
    """Split the sentences of each relation into training and test: plain relation classification."""
    rng = random.Random(seed)
    train: list[Row] = []
    test: list[Row] = []
    for rows in relations.values():
        shuffled = rng.sample(rows, len(rows))
        held_out = max(1, round(len(rows) * test_share))
        test += shuffled[:held_out]
        train += shuffled[held_out:]
    return train, test


def _records(source: Source, split: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if isinstance(source, (str, Path)):
        path = find_file(source, _FILES.get(split, (f"{split}.json",)))
        data = expect(read_json(path), Mapping, str(path), "an object of relations")
        for relation, sentences in data.items():
            for i, record in enumerate(expect(sentences, list, f"{path}, {relation}", "a list of sentences")):
                where = f"{path}, {relation}, sentence {i}"
                yield where, relation, expect(record, Mapping, where, "an object")
        return
    for i, record in enumerate(rows_of(source, split)):
        where = f"row {i} of the dataset"
        yield where, str(take(record, "relation", (str, int), where)), record


def _span(entity: Any, marker: str, where: str) -> Span:
    if isinstance(entity, Mapping):
        entity = [take(entity, name, (str, list), where) for name in _ENTITY_FIELDS]
    if not isinstance(entity, list) or len(entity) != 3 or not isinstance(entity[2], list) or not entity[2]:
        raise DataError(f"{where}: expected an entity as [name, id, [[word, ...], ...]], found {entity!r:.80}.")
    words = entity[2][0]  # an entity may occur several times; the first one is meant
    if not isinstance(words, list) or not words or not all(isinstance(word, int) for word in words):
        raise DataError(f"{where}: expected the numbers of an entity's words, found {words!r:.80}.")
    return Span(words[0], words[-1] + 1, entity_id(entity[1], where), marker)
