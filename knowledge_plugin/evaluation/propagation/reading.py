"""The published files of ECBD and Entity Inferences: JSON, a row a line, with T5's sentinels for blanks.

A row is what a stranger wrote. Whatever is wrong with one is an error that says file, line and field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knowledge_plugin.building.readers.text import read_lines
from knowledge_plugin.config import no_constant, no_duplicates
from knowledge_plugin.errors import EvaluationError, ReaderError
from knowledge_plugin.evaluation.propagation.probes import TASKS, EntityProbe, TaskName, check_text

BLANK = "<extra_id_0>"
BLANK_END = "<extra_id_1>"
POPULAR = "specificity_popular"  # how the file of popular entities begins

_FOLDERS: dict[TaskName, str] = {"ecbd": "ecbd", "entity-inferences": "entity_inferences"}
_OF_A_ROW = re.compile(r"(.+)_\d+_\d+", re.DOTALL)  # "Title_pageid_i_j": the entity, and which of its sentences
_WRAPPED = re.compile(rf"\s*{BLANK}(.*?){BLANK_END}\s*", re.DOTALL)

MAX_FILES = 1_000
MAX_ROWS = 200_000
MAX_LINE_BYTES = 2**20


@dataclass(frozen=True)
class ProbeSet:
    """What is asked.

    Attributes:
        task: ``"ecbd"`` or ``"entity-inferences"``.
        probes: Sentences about entities that the model is not to know.
        popular: Sentences about popular entities, of which nothing is to change (ECBD).
    """

    task: TaskName
    probes: tuple[EntityProbe, ...]
    popular: tuple[EntityProbe, ...] = ()

    def __post_init__(self) -> None:
        check_task(self.task)
        if not self.probes:
            raise EvaluationError(f"{self.task}: expected probes, found none.")
        every = (*self.probes, *self.popular)
        if strange := [each for each in every if not isinstance(each, EntityProbe)]:
            raise EvaluationError(f"{self.task}: expected EntityProbe(...), found {strange[0]!r:.80}.")
        chosen = {bool(probe.options) for probe in every}
        if chosen != {self.task == "entity-inferences"}:
            raise EvaluationError(f"{self.task}: expected probes {_KINDS[self.task]}, found others.")


_KINDS = {"ecbd": "without options", "entity-inferences": "with options to choose from"}


def check_task(task: str) -> None:
    """Raise :class:`EvaluationError` unless there is such a task."""
    if task not in TASKS:
        raise EvaluationError(f"task: expected {' or '.join(map(repr, TASKS))}, found {task!r:.80}.")


def read_probes(path: str | Path, task: TaskName) -> ProbeSet:
    """Read the published files of Onoe et al. ("Can LMs Learn New Entities from Descriptions?", ACL 2023).

    The data are not part of this package: their repository has no licence. Fetch them from there, or write rows of your
    own in the same form.

    - ECBD: the entity is what is left of ``ex_id`` without the two numbers at its end, and has one definition, that of
      its first row in the file, as in the published evaluation. A file whose name begins with ``specificity_popular``
      has the popular entities.
    - Entity Inferences: each row has its own definition, and ``labels`` to choose from.

    Args:
        path: A file; or a folder with ``*.json`` in it, in ``ecbd`` or ``entity_inferences``, or below ``data`` in
            that, as they are published.
        task: Which of the two it is.

    Raises:
        ReaderError: A file is missing, damaged, or has a row of another form; with file, line and field.
        EvaluationError: No such task.
    """
    check_task(task)
    probes: list[EntityProbe] = []
    popular: list[EntityProbe] = []
    for file in _files(Path(path), task):
        is_popular = file.name.startswith(POPULAR)
        (popular if is_popular else probes).extend(_read(file, task, is_popular))
        if len(probes) + len(popular) > MAX_ROWS:
            raise ReaderError(f"{file}: expected at most {MAX_ROWS:,} rows in all, found more.")
    if not probes:
        raise ReaderError(f"{path}: expected rows of {task}, found none but those of popular entities.")
    return ProbeSet(task, tuple(probes), tuple(popular))


def _files(path: Path, task: TaskName) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ReaderError(f"{path}: expected a file of {task}, or a folder with such files; there is none.")
    name = _FOLDERS[task]
    for folder in (path / "data" / name, path / name, path):
        files = sorted(file for file in folder.glob("*.json") if file.is_file()) if folder.is_dir() else []
        if len(files) > MAX_FILES:
            raise ReaderError(f"{folder}: expected at most {MAX_FILES} files, found {len(files)}.")
        if files:
            return files
    raise ReaderError(f"{path}: expected *.json in it, in {name}/ or in data/{name}/ of it, found no such file.")


def _read(file: Path, task: TaskName, popular: bool) -> list[EntityProbe]:
    found: list[EntityProbe] = []
    definitions: dict[str, str] = {}
    for number, line in read_lines(file, max_line_bytes=MAX_LINE_BYTES):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            row = json.loads(line, object_pairs_hook=no_duplicates, parse_constant=no_constant)
        except (ValueError, RecursionError) as error:
            raise ReaderError(f"{where}: expected a JSON object on each line, found {line!r:.40}: {error}") from None
        try:
            found.append(_probe(row, task, file.stem, definitions, popular))
        except EvaluationError as error:
            raise ReaderError(f"{where}: {error}") from None
        if len(found) > MAX_ROWS:
            raise ReaderError(f"{where}: expected at most {MAX_ROWS:,} rows, found more.")
    if not found:
        raise ReaderError(f"{file}: expected a row of {task} on each line, found none.")
    return found


def _probe(row: Any, task: TaskName, file: str, definitions: dict[str, str], popular: bool) -> EntityProbe:
    if not isinstance(row, Mapping):
        raise EvaluationError(f"expected an object with 'ex_id', 'ent_str' and others, found {row!r:.80}.")
    asked = _object(_object(row, "probe_sentences"), "template_0", "probe_sentences.template_0")
    sentence = check_text("probe_sentence", asked.get("probe_sentence"))
    if sentence.count(BLANK) != 1:
        raise EvaluationError(f"probe_sentence: expected {BLANK} in it once, found {sentence!r:.80}.")
    before, after = sentence.split(BLANK)
    ex_id, entity = check_text("ex_id", row.get("ex_id")), check_text("ent_str", row.get("ent_str"))
    # Of popular entities nothing is told.
    definition = _definition(row) if not popular or row.get("definition") else ""
    options: tuple[str, ...] = ()
    if task == "ecbd":
        if "label" not in asked:
            raise EvaluationError(
                "probe_sentences.template_0: expected 'label' in a row of ecbd, found "
                f"{sorted(map(str, asked))[:10]}. Rows with 'labels' are of entity-inferences."
            )
        match = _OF_A_ROW.fullmatch(ex_id.strip())
        if match is None and not popular:
            raise EvaluationError(f"ex_id: expected a title and numbers, as in 'Zorva_123_0_1', found {ex_id!r:.80}.")
        entity_id = ex_id if match is None else match[1]
        definition = definitions.setdefault(entity_id, definition)
        gold = _unwrapped("label", asked["label"])
    else:
        labels = asked.get("labels")
        if not isinstance(labels, Sequence) or isinstance(labels, str):
            raise EvaluationError(
                "probe_sentences.template_0.labels: expected a list of texts in a row of entity-inferences, found "
                f"{labels!r:.80}. Rows with 'label' alone are of ecbd."
            )
        entity_id, options = entity, tuple(_unwrapped("labels", option) for option in labels)
        if not options:
            raise EvaluationError("probe_sentences.template_0.labels: expected two texts or more, found none.")
        gold = _unwrapped("label", row["label"] if "label" in row else asked.get("label"))
    return EntityProbe(ex_id, entity_id, entity, definition, before, after, gold, options, file)


def _definition(row: Mapping[str, Any]) -> str:
    """Put what was taken out of a definition back into it."""
    definition = check_text("definition", row.get("definition"))
    blanks = definition.count(BLANK)
    if blanks > 1:
        raise EvaluationError(f"definition: expected {BLANK} in it once at most, found it {blanks} times.")
    return definition.replace(BLANK, _unwrapped("def_target", row.get("def_target"))) if blanks else definition


def _unwrapped(name: str, value: object) -> str:
    """Return what stands between two sentinels, or the text itself if there are none."""
    text = check_text(name, value)
    if match := _WRAPPED.fullmatch(text):
        text = check_text(name, match[1])
    if BLANK in text or BLANK_END in text:
        raise EvaluationError(f"{name}: expected '{BLANK} words {BLANK_END}', found {value!r:.80}.")
    return text.strip()


def _object(row: Mapping[str, Any], name: str, called: str | None = None) -> Mapping[str, Any]:
    value = row.get(name.rpartition(".")[2])
    if not isinstance(value, Mapping):
        raise EvaluationError(f"{called or name}: expected an object, found {value!r:.80}.")
    return value
