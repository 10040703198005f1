"""The tasks of the paper, read and ready: what is learned from, what is tested on, and with which head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from examples.paper import wiki80
from examples.paper.entity_questions import read_entity_questions
from examples.paper.fewrel import classification, episodes, read_fewrel
from examples.paper.heads import Head, MaskHead, PairHead, PrototypeHead, TypesHead
from examples.paper.sources import Source, read_labels
from examples.paper.wiki_et import read_wiki_et
from knowledge_plugin import KnowledgeBase

NAMES = ("fewrel", "fewrel-episodes", "fewrel-prototypes", "wiki80", "wiki-et", "entity-questions")


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: One of ``NAMES``.
        head: How it is put to a model.
        train: Rows that checkpoints, and task-specific mappings, learn from.
        test: Rows that are scored.
        note: What was left out, for the table.
    """

    name: str
    head: Head
    train: Sequence[Any]
    test: Sequence[Any]
    note: str = ""

    def shortened(self, rows: int | None) -> Task:
        """Return the task with at most so many rows in each part."""
        return self if rows is None else Task(self.name, self.head, self.train[:rows], self.test[:rows], self.note)


@dataclass(frozen=True)
class Options:
    """What some tasks need beside their data.

    Attributes:
        labels: Of a dataset, the number of each label; folders hold them.
        templates: Of a dataset of EntityQuestions, the question of each relation; a folder holds them.
        ways: N of FewRel's episodes.
        shots: K.
        episodes: How many to train on, and to test on.
        entity_rows: For Wiki-ET, the id of each row of the published vectors.
        test_split: Which split is scored, where there are several.
        seed: For what is drawn.
        max_length: Tokens of a text.
    """

    labels: Mapping[str, int] | None = None
    templates: Mapping[str, str] | None = None
    ways: int = 5
    shots: int = 1
    episodes: tuple[int, int] = (3000, 2000)
    entity_rows: Mapping[int, str] | None = None
    test_split: str = "test"
    seed: int = 0
    max_length: int = 128


def load_task(
    name: str, source: Source, tokenizer: PreTrainedTokenizerBase, kb: KnowledgeBase, options: Options
) -> Task:
    """Read a task from its published files, or from a dataset.

    Raises:
        DataError: The files are not in the published format.
    """
    if name == "fewrel":
        # Training and development set share no relation, so that one file is split.
        relations = read_fewrel(source, "train")
        train, test = classification(relations, seed=options.seed)
        return Task(name, Head(len(relations), options.max_length), train, test)
    if name in ("fewrel-episodes", "fewrel-prototypes"):
        return _episodes(name, source, options)
    split = options.test_split
    if name == "wiki80":
        labels = read_labels(source, wiki80.LABEL_FILES, options.labels)
        train, test = (wiki80.read_wiki80(source, part, labels) for part in ("train", split))
        return Task(name, Head(len(labels), options.max_length), train, test)
    if name == "wiki-et":
        train, test = (read_wiki_et(source, part, options.entity_rows, options.labels) for part in ("train", split))
        return Task(name, TypesHead(len(train[0]["label"]), options.max_length), train, test)
    if name == "entity-questions":

        def find(subject: str) -> str | None:
            found = kb.best_entity(subject, "sensitive")
            return None if found is None else found[0]

        questions = [
            read_entity_questions(source, part, tokenizer, find, options.templates) for part in ("train", split)
        ]
        kept = f"{len(questions[1].rows)} of {questions[1].asked} questions: known subject, one-piece answer"
        head = MaskHead(len(tokenizer), options.max_length)
        return Task(name, head, questions[0].rows, questions[1].rows, kept)
    raise ValueError(f"task: expected one of {', '.join(NAMES)}, found {name!r}.")


def _episodes(name: str, source: Source, options: Options) -> Task:
    train, dev = (
        episodes(read_fewrel(source, split), ways=options.ways, shots=options.shots, count=count, seed=options.seed)
        for split, count in zip(("train", "dev"), options.episodes, strict=True)
    )
    kind = PairHead if name == "fewrel-episodes" else PrototypeHead
    head = kind(options.ways, options.max_length, batch_size=5, shots=options.shots)
    return Task(name, head, train, dev, f"{options.ways}-way {options.shots}-shot, on relations not trained on")
