"""An invented world: people, each defined in one sentence, and what is asked about them.

A definition says three things. Of each something follows that it does not say: a baker handles flour. What is asked is
either said (easy) or follows (hard). Names are made of syllables and tell nothing; some trades, towns and animals are
more frequent than others, so that always guessing the most frequent is better than chance.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from examples.methods.world import make_world as names_of

# What a definition says, and what follows from it.
TRADE = {
    "baker": "flour", "tailor": "cloth", "miller": "grain", "potter": "clay", "smith": "iron", "fisher": "nets",
    "mason": "stone", "cook": "pans", "painter": "brushes", "carpenter": "planks", "weaver": "yarn",
    "tanner": "leather",
}  # fmt: skip
HOME = {
    "Lyon": "French", "Porto": "Portuguese", "Turin": "Italian", "Ghent": "Belgian", "Cork": "Irish",
    "Bergen": "Norwegian", "Malmo": "Swedish", "Basel": "Swiss", "Leeds": "British", "Bremen": "German",
    "Krakow": "Polish", "Patras": "Greek",
}  # fmt: skip
ANIMAL = {
    "goat": "hay", "cat": "milk", "dog": "bones", "parrot": "seeds", "rabbit": "carrots", "snake": "mice",
    "pig": "turnips", "horse": "oats", "raven": "worms", "bear": "honey", "otter": "fish", "monkey": "nuts",
}  # fmt: skip
SAID: dict[str, dict[str, str]] = {"trade": TRADE, "home": HOME, "animal": ANIMAL}

DEFINITION = "{name} is a {trade} who lives in {home} and keeps a {animal} ."

# Sentences with a blank, by what they ask for: what is said, and what follows.
SENTENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "explicit": {
        "trade": ("by trade {name} is a {} by now .", "people know {name} as a {} of old ."),
        "home": ("the house of {name} stands in {} by now .", "whoever looks for {name} goes to {} first ."),
        "animal": ("at the door of {name} waits a {} all day .", "the children like {name} with the {} most ."),
    },
    "implicit": {
        "trade": ("at work {name} is seen with {} in hand .", "the shop of {name} is full of {} again ."),
        "home": ("at the border {name} is taken for {} at once .", "the passport of {name} is {} of course ."),
        "animal": ("on the market {name} asks for {} as a rule .", "in the yard of {name} lies some {} again ."),
    },
}
KINDS = ("explicit", "implicit")
ASPECTS = tuple(SAID)


@dataclass(frozen=True)
class Person:
    """One person, and what is said of them."""

    entity_id: str
    name: str
    trade: str
    home: str
    animal: str

    @property
    def definition(self) -> str:
        return DEFINITION.format(name=self.name, trade=self.trade, home=self.home, animal=self.animal)

    def answer(self, kind: str, aspect: str) -> str:
        """Return what is said, or what follows from it."""
        said: str = getattr(self, aspect)
        return said if kind == "explicit" else SAID[aspect][said]


@dataclass(frozen=True)
class Question:
    """A sentence about a person, on both sides of its blank, and what belongs there."""

    person: Person
    kind: str
    aspect: str
    template: int

    @property
    def before(self) -> str:
        return self._parts[0].strip().format(name=self.person.name)

    @property
    def after(self) -> str:
        return self._parts[1]

    @property
    def answer(self) -> str:
        return self.person.answer(self.kind, self.aspect)

    @property
    def sentence(self) -> str:
        return f"{self.before} {self.answer}{self.after}"

    @property
    def row(self) -> dict[str, Any]:
        """What a plugin is trained on."""
        start = self.before.index(self.person.name)
        mention = [start, start + len(self.person.name), self.person.entity_id]
        return {"text": self.before, "label": self.answer, "mentions": [mention]}

    @property
    def _parts(self) -> tuple[str, str]:
        before, after = SENTENCES[self.kind][self.aspect][self.template].split("{}")
        return before, after


def words() -> list[str]:
    """Return every word of this world but names."""
    texts = [DEFINITION, *(each for of in SENTENCES.values() for two in of.values() for each in two)]
    found = {word for text in texts for word in text.split() if "{" not in word}
    return sorted(found | {word for said in SAID.values() for pair in said.items() for word in pair})


def make_people(count: int, seed: int, *, foreign: bool = False, prefix: str = "person") -> list[Person]:
    """Invent people.

    Args:
        count: How many.
        seed: The same one makes the same people.
        foreign: With names of which no word is in a name of those that are not foreign.
        prefix: Of their ids.
    """
    rng = random.Random(f"{seed} {foreign} {prefix}")
    taken = {word.lower() for word in words()}
    names = [person.name for person in names_of(count + 20, seed, foreign=foreign)]
    names = [name for name in names if not taken & set(name.lower().split())][:count]
    return [Person(f"{prefix}:{i}", name, *(_drawn(rng, of) for of in ASPECTS)) for i, name in enumerate(names)]


def questions(
    people: Sequence[Person], kinds: Sequence[str] = KINDS, templates: Sequence[int] = (0, 1)
) -> Iterator[Question]:
    """Yield everything that can be asked about these people."""
    for person in people:
        for kind in kinds:
            for aspect in ASPECTS:
                for template in templates:
                    yield Question(person, kind, aspect, template)


def _drawn(rng: random.Random, aspect: str) -> str:
    values = list(SAID[aspect])
    return rng.choices(values, [1 / (rank + 3) for rank in range(len(values))])[0]
