"""EntityQuestions: questions about rare entities, answered from memory by a masked language model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from examples.paper.marking import TAIL, Span, mark
from examples.paper.sources import DataError, Row, Source, expect, find_file, read_json, rows_of, take

_SUBJECT = "[X]"
TEMPLATES_NAME = "relation_query_templates.json"


class Questions(NamedTuple):
    """What was read: rows whose label is the id of the answer, and how many questions there were in all."""

    rows: list[Row]
    asked: int


def read_entity_questions(
    source: Source,
    split: str,
    tokenizer: PreTrainedTokenizerBase,
    find_entity: Callable[[str], str | None],
    templates: Mapping[str, str] | None = None,
) -> Questions:
    """Read a split, as ``question $ subject $ ... [MASK]``.

    As in the paper, only questions are kept whose subject is the exact name of a known entity, and which have an
    answer that is a single word piece. Figures are comparable with none on all questions, and hold for one vocabulary.

    Args:
        source: A folder with ``relation_query_templates.json`` and ``train/P19.train.json`` and so on (a list of
            objects with ``question`` and ``answers``); or a dataset with ``question``, ``answers`` and ``relation``.
        split: ``"train"``, ``"dev"`` or ``"test"``.
        tokenizer: Whose word pieces answer.
        find_entity: Returns the id of the entity of an exact name, or ``None``.
        templates: The question of each relation with ``[X]`` for the subject, for a dataset.

    Raises:
        DataError: Something else stands there, or no question is left.
    """
    templates = _read_templates(source, templates)
    rows: list[Row] = []
    asked = 0
    why = {"do not fit the template of their relation": 0, "have no known subject": 0, "have no one-piece answer": 0}
    for where, relation, record in _records(source, split, templates):
        asked += 1
        if relation not in templates:
            raise DataError(f"{where}: the relation {relation!r:.40} has no template.")
        question = take(record, "question", str, where)
        answers = [expect(answer, str, where, "an answer") for answer in take(record, "answers", list, where)]
        start, end = _subject(question, templates[relation])
        entity = find_entity(question[start:end]) if start < end else None
        label = next((piece for answer in answers if (piece := _piece(answer, tokenizer)) is not None), None)
        if start >= end:
            why["do not fit the template of their relation"] += 1
        elif entity is None:
            why["have no known subject"] += 1
        elif label is None:
            why["have no one-piece answer"] += 1
        else:
            text, mentions = mark(question, [Span(start, end, entity, TAIL)], where)
            rows.append({"text": f"{text} {tokenizer.mask_token}", "label": label, "mentions": mentions})
    if not rows:
        counts = ", ".join(f"{count} {reason}" for reason, count in why.items())
        raise DataError(f"no question of {split!r} is left: of {asked}, {counts}.")
    return Questions(rows, asked)


def _read_templates(source: Source, templates: Mapping[str, str] | None) -> Mapping[str, str]:
    where = "templates"
    if templates is None:
        if not isinstance(source, (str, Path)):
            raise DataError("a dataset does not say where the subject stands. Type: templates={'P19': 'Where was ...'}")
        path = find_file(source, (TEMPLATES_NAME,))
        templates, where = read_json(path), str(path)
    for relation, template in expect(templates, Mapping, where, "an object of templates").items():
        if not isinstance(template, str) or template.count(_SUBJECT) != 1:
            raise DataError(f"{where}: {relation}: expected a question with one [X], found {template!r:.80}.")
    return templates


def _records(source: Source, split: str, templates: Mapping[str, str]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if not isinstance(source, (str, Path)):
        for i, record in enumerate(rows_of(source, split)):
            where = f"row {i} of the dataset"
            yield where, take(record, "relation", str, where), record
        return
    paths = [(r, path) for r in templates if (path := Path(source) / split / f"{r}.{split}.json").is_file()]
    if not paths:
        raise DataError(f"{Path(source) / split}: expected files such as P19.{split}.json, found none.")
    for relation, path in paths:
        for i, record in enumerate(expect(read_json(path), list, str(path), "a list of questions")):
            yield f"{path}, question {i}", relation, expect(record, Mapping, f"{path}, question {i}", "an object")


def _subject(question: str, template: str) -> tuple[int, int]:
    """Return where the subject stands; an empty span if the question is none of the template."""
    before, after = template.split(_SUBJECT)
    if not question.startswith(before) or not question.endswith(after):
        return 0, 0
    return len(before), len(question) - len(after)


def _piece(answer: str, tokenizer: PreTrainedTokenizerBase) -> int | None:
    # With a blank in front, since that is how some tokenizers write a word within a text.
    ids = tokenizer(f" {answer.strip()}", add_special_tokens=False)["input_ids"]
    return ids[0] if len(ids) == 1 and ids[0] != tokenizer.unk_token_id else None
