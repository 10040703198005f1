"""The invented world in the form of the published files, so that what reads these reads it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.propagation.world import ASPECTS, KINDS, Person, Question, questions

_BLANK, _END = "<extra_id_0>", "<extra_id_1>"


def write_inferences(people: Sequence[Person], folder: Path) -> None:
    """Write Entity Inferences: a file for each aspect, of what is said and of what follows."""
    for kind in KINDS:
        for aspect in ASPECTS:
            options = sorted({person.answer(kind, aspect) for person in people})
            rows = []
            for i, person in enumerate(people):
                question = Question(person, kind, aspect, i % 2)
                asked = {"probe_sentence": _blanked(question), "labels": options}
                rows.append(_row(person, f"{aspect}_{i}") | _asked(asked) | {"label": question.answer})
            _write(folder / "data" / "entity_inferences" / f"person_{kind}_{aspect}.json", rows)


def write_ecbd(people: Sequence[Person], popular: Sequence[Person], folder: Path, seed: int) -> None:
    """Write ECBD: phrases and random spans to fill in about new people, and phrases about popular ones."""
    rng = random.Random(seed)
    phrases, spans = [], []
    for number, person in enumerate(people):
        for j, question in enumerate(questions([person], templates=[number % 2])):
            phrases.append(_ecbd_row(question, number, j, question.before, question.answer, question.after))
            words = question.sentence.split()
            first = words.index(person.name.split()[-1]) + 1
            start = rng.randrange(first, len(words) - 2)
            end = start + rng.randint(1, 3)
            parts = (" ".join(part) for part in (words[:start], words[start:end], words[end:]))
            before, gold, after = parts
            spans.append(_ecbd_row(question, number, j, before, gold, f" {after}"))
    known = [
        _ecbd_row(question, number, 0, question.before, question.answer, question.after)
        for number, person in enumerate(popular)
        for question in questions([person], templates=[number % 2])
    ]
    inner = folder / "data" / "ecbd"
    _write(inner / "people_np.json", phrases)
    _write(inner / "people_random.json", spans)
    _write(inner / "specificity_popular_np.json", known)


def _row(person: Person, ex_id: str) -> dict[str, Any]:
    blanked = person.definition.replace(f"a {person.trade}", _BLANK)
    return {
        "ex_id": ex_id, "definition": blanked, "def_target": f"{_BLANK} a {person.trade} {_END}",
        "ent_str": person.name, "category": "person", "attribute": "n/a",
    }  # fmt: skip


def _ecbd_row(question: Question, number: int, j: int, before: str, gold: str, after: str) -> dict[str, Any]:
    asked = {"probe_sentence": f"{before} {_BLANK}{after}", "label": f"{_BLANK} {gold} {_END}"}
    title = question.person.name.replace(" ", "_")
    return _row(question.person, f"{title}_{number}_0_{j}") | _asked(asked)


def _asked(template: Mapping[str, Any]) -> dict[str, Any]:
    return {"probe_sentences": {"template_0": dict(template)}}


def _blanked(question: Question) -> str:
    return f"{question.before} {_BLANK}{question.after}"


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
