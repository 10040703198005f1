"""A probe: a sentence about an entity with a blank, what belongs there, and a definition that ought to tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from knowledge_plugin.errors import EvaluationError

TaskName = Literal["ecbd", "entity-inferences"]
TASKS: tuple[TaskName, ...] = ("ecbd", "entity-inferences")

MAX_TEXT = 20_000  # characters of a definition or a sentence; the published ones have a few hundred
MAX_OPTIONS = 1_000

_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class EntityProbe:
    """One sentence about one entity, with a blank in it.

    Attributes:
        id: What the row is called, such as ``"tv_dev_0"``.
        entity_id: Rows with the same one are about the same entity: the bootstrap draws them together.
        entity: What the entity is called in the sentence.
        definition: What is told of it, as a sentence or several.
        before: The sentence up to the blank, without the blanks at its end.
        after: The sentence from the blank on, as it stands there.
        gold: What belongs into the blank.
        options: What may belong there, ``gold`` among them; empty where any words may (ECBD).
        file: Which file it comes from; figures are given for each file.

    Raises:
        EvaluationError: A field is no such text, or ``gold`` is not among the options.

    Example:
        >>> probe = EntityProbe(
        ...     "x_0", "x", "Zorva", "Zorva is a comedy about bakers.", "Watching Zorva made me", " all evening.",
        ...     "laugh", ("laugh", "cry"))
        >>> probe.sentence("cry"), probe.easy
        ('Watching Zorva made me cry all evening.', False)
    """

    id: str
    entity_id: str
    entity: str
    definition: str
    before: str
    after: str
    gold: str
    options: tuple[str, ...] = ()
    file: str = ""

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name != "options":
                value = check_text(item.name, getattr(self, item.name), blank=item.name in _MAY_BE_BLANK)
                object.__setattr__(self, item.name, value if item.name == "after" else value.strip())
        object.__setattr__(self, "options", self._checked_options())

    def _checked_options(self) -> tuple[str, ...]:
        if not isinstance(self.options, (tuple, list)) or len(self.options) > MAX_OPTIONS:
            raise EvaluationError(
                f"options: expected a list of at most {MAX_OPTIONS} texts, found {_shown(self.options)}."
            )
        options = tuple(check_text("options", option).strip() for option in self.options)
        if not options:
            return options
        if len(set(options)) != len(options) or len(options) < 2:
            raise EvaluationError(f"options: expected two texts or more, each once, found {_shown(options)}.")
        if self.gold not in options:
            raise EvaluationError(f"gold: expected one of the options {_shown(options)}, found {self.gold!r:.80}.")
        return options

    @property
    def easy(self) -> bool:
        """Whether the definition says the answer in so many words: whole words, whatever their case."""
        return re.search(rf"(?<!\w){re.escape(self.gold.casefold())}(?!\w)", self.definition.casefold()) is not None

    def sentence(self, span: str) -> str:
        """Return the sentence with something in its blank; a blank stands before it unless it comes first."""
        return f"{self.before}{' ' if self.before else ''}{span}{self.after}"

    def name_places(self) -> Iterator[tuple[int, int]]:
        """Yield where the entity is named: places in ``before + after``, whole words, spelt just so."""
        name = re.compile(rf"(?<!\w){re.escape(self.entity)}(?!\w)")
        for text, shift in ((self.before, 0), (self.after, len(self.before))):
            for found in name.finditer(text):
                yield found.start() + shift, found.end() + shift


_MAY_BE_BLANK = ("definition", "before", "after", "file")


def check_text(name: str, value: object, *, blank: bool = False) -> str:
    """Return a text that can be tokenized and shown.

    Raises:
        EvaluationError: It is none, is blank, is too long, or holds what no text holds.
    """
    if not isinstance(value, str):
        raise EvaluationError(f"{name}: expected a text, found {_shown(value)}.")
    if not blank and not value.strip():
        raise EvaluationError(f"{name}: expected a text that is not blank, found {value!r:.80}.")
    if len(value) > MAX_TEXT:
        raise EvaluationError(f"{name}: expected at most {MAX_TEXT:,} characters, found {len(value):,}.")
    if "\0" in value or _HALF_A_PAIR.search(value):
        raise EvaluationError(f"{name}: expected Unicode text, found a NUL or half a surrogate pair ({value!r:.80}).")
    return value


def _shown(value: object) -> str:
    return f"{value!r:.80}" if value is not None else "nothing"
