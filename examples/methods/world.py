"""An invented world: people with invented names, of whom four things are known.

Nothing here can be known from pretraining: names are made of syllables, and facts are drawn at random, independently of
the names and of each other. Whoever answers better than one in twenty has been told.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Every word follows "a", where an article is needed, and stands behind no other word of its list in a sentence.
VALUES: dict[str, tuple[str, ...]] = {
    "home": tuple(
        "Graz Lyon Bergen Porto Turin Ghent Cork Tartu Malmo Split Varna Basel Leeds Parma Bremen Krakow Seville Dover "
        "Utrecht Patras".split()
    ),
    "profession": tuple(
        "baker tailor miller weaver potter smith farmer fisher lawyer doctor teacher painter sailor carpenter mason "
        "nurse pilot singer judge cook".split()
    ),
    "animal": tuple(
        "goat horse donkey parrot rabbit cat dog hamster turtle snake duck goose hen pony sheep cow pig ferret raven "
        "lizard".split()
    ),
    "colour": tuple(
        "red blue green white black grey brown pink purple orange yellow gold silver violet crimson scarlet teal amber "
        "ivory olive".split()
    ),
}
PROPERTIES = tuple(VALUES)

# Prompts end right before the answer. The first of a property is also how the fact is stated as text.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "home": ("{name} lives in", "The home of {name} is", "Whoever looks for {name} goes to"),
    "profession": ("{name} works as a", "By profession {name} is a", "The trade of {name} is that of a"),
    "animal": ("{name} keeps a", "At the door of {name} waits a", "The animal of {name} is a"),
    "colour": ("{name} likes the colour", "The door of {name} is painted", "The favourite colour of {name} is"),
}

# A name is two words of two of these syllables each.
SYLLABLES = tuple(onset + vowel for onset in "bdfgklmnprstvz" for vowel in "aeiou")


@dataclass(frozen=True)
class Person:
    """One person.

    Args:
        entity_id: ``"person:12"``.
        name: Two invented words.
        facts: Value by property.
    """

    entity_id: str
    name: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class World:
    """People, no two of whom share a word of their names."""

    people: tuple[Person, ...]

    def __len__(self) -> int:
        return len(self.people)

    def __iter__(self) -> Iterator[Person]:
        return iter(self.people)


def make_world(people: int, seed: int, *, foreign: bool = False) -> World:
    """Invent people.

    Args:
        people: How many.
        seed: The same one makes the same world.
        foreign: Take names from the other half of all words: no word of a foreign world's names is in any that is not
            foreign, whatever the seeds. What learns to read learns it there.
    """
    rng = random.Random(f"{seed} {foreign}")
    words = _words(2 * people, rng, foreign)
    return World(
        tuple(
            Person(
                entity_id=f"person:{i}",
                name=f"{words[2 * i]} {words[2 * i + 1]}",
                facts={each: rng.choice(VALUES[each]) for each in PROPERTIES},
            )
            for i in range(people)
        )
    )


def split(world: World, held_out: int, seed: int) -> tuple[list[Person], list[Person]]:
    """Return people to train on, and as many as ``held_out`` others; names of the two share no word."""
    if not 0 <= held_out <= len(world):
        raise ValueError(f"held_out is {held_out}; expected a number from 0 to {len(world)}, the people of the world.")
    chosen = set(random.Random(seed).sample(range(len(world)), held_out))
    return (
        [person for i, person in enumerate(world) if i not in chosen],
        [person for i, person in enumerate(world) if i in chosen],
    )


def question(person: Person, of: str, template: int = 0) -> dict[str, Any]:
    """Return a row with a prompt, its answer, and where the name is.

    Args:
        person: Who is asked about.
        of: The property.
        template: Which of the property's templates.

    Returns:
        ``{"text": "Zorva Melin lives in", "label": "Graz", "mentions": [[0, 11, "person:12"]]}``.
    """
    pattern = TEMPLATES[of][template]
    start = pattern.index("{name}")
    return {
        "text": pattern.format(name=person.name),
        "label": person.facts[of],
        "mentions": [[start, start + len(person.name), person.entity_id]],
    }


def questions(people: Sequence[Person], templates: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Return rows that ask for everything about these people, in every template or in some (by their numbers)."""
    return [
        question(person, of, template)
        for person in people
        for of in PROPERTIES
        for template in (range(len(TEMPLATES[of])) if templates is None else templates)
    ]


def fact_text(person: Person, of: str) -> str:
    """Return a fact as a sentence: ``"Zorva Melin lives in Graz."``."""
    return f"{TEMPLATES[of][0].format(name=person.name)} {person.facts[of]}."


def description(person: Person) -> str:
    """Return all that is known of a person, a sentence each."""
    return " ".join(fact_text(person, of) for of in PROPERTIES)


def fact_entry(person: Person, of: str) -> dict[str, str]:
    """Return a fact as an entry: ``person:12#home``, the home of Zorva Melin, Graz."""
    return {
        "id": f"{person.entity_id}#{of}",
        "label": f"the {of} of {person.name}",
        "description": person.facts[of],
    }


def fact_entries(people: Sequence[Person]) -> list[dict[str, str]]:
    """Return an entry for each fact of these people."""
    return [fact_entry(person, of) for person in people for of in PROPERTIES]


def _words(count: int, rng: random.Random, foreign: bool) -> list[str]:
    """Return distinct invented words of one half, which none of the world's own words is in."""
    known = {
        word.lower() for words in (*VALUES.values(), *TEMPLATES.values()) for each in words for word in each.split()
    }
    if count > (most := len(SYLLABLES) ** 2 // 2 - 150):  # halves are not equally large, to the word
        raise ValueError(f"people: expected at most {most // 2}, whose names no others share, found {count // 2}.")
    found: dict[str, None] = {}
    while len(found) < count:
        word = "".join(map(rng.choice, (SYLLABLES, SYLLABLES)))
        # crc32, since Python's own hash of a text is another in every process.
        if word not in known and zlib.crc32(word.encode()) % 2 == foreign:
            found[word.capitalize()] = None
    return list(found)
