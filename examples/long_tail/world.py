"""An invented world: people of invented towns in invented countries, some of whom are often written about."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SYLLABLES = tuple(onset + vowel for onset in "bdfgklmnprstvz" for vowel in "aeiou")

# What is asked: the country of whoever is named first. Nothing in these sentences tells it but the name.
ONE = (
    "{who} pays the tax in spring",
    "the letter for {who} is lost",
    "{who} votes on sunday",
    "the ship of {who} flies a flag",
)
TWO = (
    "{who} writes to {other} on sunday",
    "the flag of {who} is seen by {other}",
    "{who} and not {other} pays the tax",
    "{who} waits for {other} in spring",
)

Triple = tuple[str, str, str]


@dataclass(frozen=True)
class Person:
    """One person: what is true of them, and in how many texts a checkpoint reads of them."""

    entity_id: str
    name: str
    country: int
    town: str
    trade: str
    read: int


@dataclass(frozen=True)
class World:
    """Everything that there is.

    Args:
        towns: Name by id; ``town_country`` says in which country each lies.
        asked: People whom the checkpoint is asked about; of some it reads many times, of some never.
        tuned: Others of the same kind, whom a mapping is tuned on.
        strangers: Names of people of whom nothing else is known.
        friends: Who knows whom.
    """

    countries: int
    towns: dict[str, str]
    town_country: dict[str, int]
    asked: tuple[Person, ...]
    tuned: tuple[Person, ...]
    strangers: tuple[str, ...]
    friends: tuple[tuple[str, str], ...]

    @property
    def people(self) -> tuple[Person, ...]:
        return self.asked + self.tuned


def make_world(
    *, asked: int, tuned: int, unread: int, countries: int, towns: int, most_read: int, loyal: float, seed: int
) -> World:
    """Invent a world.

    Args:
        asked: How many people are asked about.
        tuned: How many others, of the same kind, a mapping is tuned on.
        unread: How many more it is tuned on, of whom nothing is read.
        countries: How many countries.
        towns: How many towns in each of them.
        most_read: In so many texts, at most, is one of them read of; half a text stands for none, and the
            logarithm of the number is spread evenly between.
        loyal: Share of friends who are of one's own country.
        seed: The same one makes the same world.
    """
    rng = random.Random(seed)
    words = list(dict.fromkeys("".join(rng.choices(SYLLABLES, k=2)).capitalize() for _ in range(20_000)))
    names = iter(f"{a} {b}" for a, b in zip(words[::2], words[1::2], strict=False))
    town_names, town_country = {}, {}
    while len(town_names) < countries * towns:
        name = "".join(rng.choices(SYLLABLES, k=3)).capitalize()
        if name not in town_names.values():
            town_country[f"town:{len(town_names)}"] = len(town_names) % countries
            town_names[f"town:{len(town_names)}"] = name

    def person(i: int, read: int) -> Person:
        town = rng.choice(sorted(town_names))
        return Person(f"person:{i}", next(names), town_country[town], town, f"trade:{rng.randrange(20)}", read)

    low, high = math.log(0.5), math.log(most_read)
    everyone = [person(i, int(math.exp(rng.uniform(low, high)))) for i in range(asked + tuned)]
    everyone += [person(asked + tuned + i, 0) for i in range(unread)]
    of_country = [[p for p in everyone if p.country == c] for c in range(countries)]
    friends = []
    for p in everyone:
        for _ in range(2):
            friend = rng.choice(of_country[p.country] if rng.random() < loyal else everyone)
            if friend is not p:
                friends.append((p.entity_id, friend.entity_id))
    strangers = tuple(next(names) for _ in range(200))
    first, rest = tuple(everyone[:asked]), tuple(everyone[asked:])
    return World(countries, town_names, town_country, first, rest, strangers, tuple(friends))


def triples_of(world: World) -> list[Triple]:
    """Return the graph: where people live, what they do and whom they know; where towns lie."""
    found = [(town, "lies in", f"country:{country}") for town, country in world.town_country.items()]
    for person in world.people:
        found += [(person.entity_id, "lives in", person.town), (person.entity_id, "works as", person.trade)]
    return found + [(a, "knows", b) for a, b in world.friends]


def reading(world: World, per_town: int, seed: int) -> list[dict[str, Any]]:
    """Return what the checkpoint reads: people, as often as they are read of, and towns, which tell the country."""
    rng = random.Random(seed)
    asked = [(p.name, p.country) for p in world.people for _ in range(p.read)]
    for town, name in world.towns.items():
        for i in range(per_town):
            who = name if i % 2 else f"{name} / {rng.choice(world.strangers)}"
            asked.append((who, world.town_country[town]))
    # Whoever else is named is known as often: by that, nobody's name tells which of the two is asked about.
    others = [name for name, _ in asked]
    rows = [
        {"text": rng.choice(ONE + TWO).format(who=who, other=rng.choice(others)), "label": country}
        for who, country in asked
    ]
    rng.shuffle(rows)
    return rows


def questions(people: Sequence[Person], others: Sequence[Person], per_person: int, seed: int) -> list[dict[str, Any]]:
    """Return rows about people: as many sentences with one name as with two, the second being one of the others."""
    rng = random.Random(seed)
    rows = []
    for person in people:
        for i in range(per_person):
            other = rng.choice([each for each in rng.sample(others, 2) if each is not person])
            text = rng.choice(TWO if i % 2 else ONE).format(who=person.name, other=other.name)
            rows.append({"text": text, "label": person.country, "person": person, "other": bool(i % 2)})
    return rows
