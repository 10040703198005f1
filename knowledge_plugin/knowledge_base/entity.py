"""One entity of a knowledge base."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from knowledge_plugin.errors import KnowledgeBaseError


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity: what it is, and what it is called.

    Args:
        id: Identifier with its scheme, for example ``"geonames:2950159"`` or ``"wikidata:Q64"``.
        label: The name it is usually called by. The label is itself an alias; it need not be repeated.
        aliases: Other names, in any sequence; ``None`` is none.
        description: A sentence about it.
        types: What kinds of thing it is, likewise.
        popularity: Any number that is larger for entities mentioned more often (inhabitants, sitelinks, page views).
            Among the entities of one alias it decides; ``None`` counts as 0.

    Raises:
        KnowledgeBaseError: A blank id, a text that is no text (NaN of pandas is none), or a popularity that is negative
            or not a number.

    Example:
        >>> Entity("geonames:2950159", "Berlin", aliases=["Berlino"], popularity=3_426_354).aliases
        ('Berlino',)
    """

    id: str
    label: str
    aliases: tuple[str, ...] = ()
    description: str | None = None
    types: tuple[str, ...] = ()
    popularity: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id.strip() or "\0" in self.id:
            hint = f" Type: 'scheme:{self.id}'" if isinstance(self.id, Integral) else ""
            raise KnowledgeBaseError(
                f"the id of {self.label!r:.80}: expected a text that is not blank and has no NUL, found "
                f"{self.id!r:.200}.{hint}"
            )
        for name in ("aliases", "types"):
            object.__setattr__(self, name, self._listed(name))
        self._check_texts("label", (self.label,))
        self._check_texts("aliases", self.aliases)
        self._check_texts("types", self.types)
        self._check_texts("description", () if self.description is None else (self.description,))
        if self.popularity is not None:
            object.__setattr__(self, "popularity", self._number(self.popularity))

    def _listed(self, name: str) -> tuple[Any, ...]:
        values: Any = getattr(self, name)
        if values is None:
            return ()
        hint = ""
        if isinstance(values, str):
            separator = next((sign for sign in ",;|" if sign in values), None)
            hint = f"{values!r:.40}.split({separator!r})" if separator else f"[{values!r:.40}]"
        # A text is a sequence of texts, and a dictionary one of its keys; neither is ever what was meant.
        if not isinstance(values, Iterable) or isinstance(values, (str, bytes, Mapping)):
            raise self._wrong(name, "a list of texts", values, hint)
        return tuple(values)

    def _check_texts(self, name: str, texts: tuple[Any, ...]) -> None:
        for text in texts:
            if not isinstance(text, str):
                raise self._wrong(name, "a text", text)

    def _number(self, value: Any) -> float:
        number = math.nan
        # The numbers of numpy are registered as Real; bool is Real too, and never what was meant.
        if isinstance(value, (Real, Decimal)) and not isinstance(value, bool):
            with suppress(OverflowError, ValueError):
                number = float(value)
        if not 0 <= number < math.inf:
            hint = f"float({value!r:.40})" if isinstance(value, str) else ""
            raise self._wrong("popularity", "a number from 0 up", value, hint)
        return number

    def _wrong(self, name: str, expected: str, found: object, hint: str = "") -> KnowledgeBaseError:
        advice = f" Type: {hint}" if hint else ""
        if isinstance(found, float) and math.isnan(found):
            advice = " NaN stands for a missing value in pandas; here it is None."
        return KnowledgeBaseError(f"{self.id!r:.200}: {name}: expected {expected}, found {found!r:.80}.{advice}")

    @property
    def names(self) -> tuple[str, ...]:
        """Label and aliases without blanks and repetitions, the label first."""
        return tuple(dict.fromkeys(name for name in (self.label, *self.aliases) if name.strip()))
