"""One entity of a knowledge base."""

from __future__ import annotations

import math
from dataclasses import dataclass

from knowledge_plugin.errors import KnowledgeBaseError


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity: what it is, and what it is called.

    Args:
        id: Identifier with its scheme, for example ``"geonames:2950159"`` or ``"wikidata:Q64"``.
        label: The name it is usually called by. The label is itself an alias; it need not be repeated.
        aliases: Other names.
        description: A sentence about it.
        types: What kinds of thing it is.
        popularity: Any number that is larger for entities mentioned more often (inhabitants, sitelinks, page views).
            Among the entities of one alias it decides; ``None`` counts as 0.

    Raises:
        KnowledgeBaseError: A blank id, a text that is no text, or a popularity that is negative or not a number.

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
            raise KnowledgeBaseError(
                f"the id of an entity: expected a text that is not blank and has no NUL, found {self.id!r:.200}."
            )
        for name in ("aliases", "types"):
            values = getattr(self, name)
            if isinstance(values, str):  # a text is a sequence of texts, and never what was meant
                raise KnowledgeBaseError(
                    f"{self.id!r}: {name}: expected a list of texts, found {values!r:.40}. Type: [{values!r:.40}]"
                )
            object.__setattr__(self, name, tuple(values))
        for name, text in [("label", self.label), *(("alias", a) for a in self.aliases)]:
            if not isinstance(text, str):
                raise KnowledgeBaseError(f"{self.id!r}: {name}: expected a text, found {text!r:.80}.")
        if self.popularity is not None and not (self.popularity >= 0 and math.isfinite(self.popularity)):
            raise KnowledgeBaseError(
                f"{self.id!r}: popularity: expected a number from 0 up, found {self.popularity!r}."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Label and aliases without blanks and repetitions, the label first."""
        return tuple(dict.fromkeys(name for name in (self.label, *self.aliases) if name.strip()))
