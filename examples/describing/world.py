"""An invented world: people live in towns and have trades; of some, a checkpoint has read."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from knowledge_plugin import Entity, KnowledgeBase

SYLLABLES = tuple(onset + vowel for onset in "bdfgklmnprstvz" for vowel in "aeiou")
TRADES = tuple(
    "baker tailor miller weaver potter smith farmer fisher lawyer doctor teacher painter sailor carpenter mason".split()
)
LIVES, WORKS = "lives in", "works as a"
TOLD = f"{{who}} {LIVES} {{town}} and {WORKS} {{trade}}"
# What is asked: the country. Nothing in these sentences tells it but the name. The last two are kept for questions.
ASKED = (
    "{who} pays the tax in spring",
    "the letter for {who} is lost",
    "{who} votes on sunday",
    "the ship of {who} flies a flag",
    "nobody waits for {who} on sunday",
    "a flag is seen by {who}",
)
KEPT = ASKED[-2:]


@dataclass(frozen=True)
class Person:
    """One person: where they live and what they do."""

    entity_id: str
    name: str
    town: str
    trade: str
    country: int


@dataclass(frozen=True)
class World:
    """Everything that there is.

    Args:
        countries: The towns of each.
        read: People of whom the checkpoint has read.
        tuned: People of whom it has not, with whom plugins and adapters are trained.
        held_out: People of whom nobody has read, for questions.
    """

    countries: tuple[tuple[str, ...], ...]
    read: tuple[Person, ...]
    tuned: tuple[Person, ...]
    held_out: tuple[Person, ...]

    @property
    def people(self) -> tuple[Person, ...]:
        return self.read + self.tuned + self.held_out


def make_world(*, read: int, tuned: int, held_out: int, countries: int, towns: int, seed: int) -> World:
    """Invent a world of so many people of each kind, and so many towns in each country."""
    rng = random.Random(seed)
    words = iter(dict.fromkeys("".join(rng.choices(SYLLABLES, k=2)).capitalize() for _ in range(20_000)))
    names = list(dict.fromkeys("".join(rng.choices(SYLLABLES, k=3)).capitalize() for _ in range(10_000)))
    places = tuple(tuple(names[c * towns : (c + 1) * towns]) for c in range(countries))

    def person(i: int) -> Person:
        country = rng.randrange(countries)
        name = f"{next(words)} {next(words)}"
        return Person(f"person:{i}", name, rng.choice(places[country]), rng.choice(TRADES), country)

    people = [person(i) for i in range(read + tuned + held_out)]
    return World(places, tuple(people[:read]), tuple(people[read : read + tuned]), tuple(people[read + tuned :]))


def told(person: Person) -> str:
    """Return all that is known of a person, in words."""
    return TOLD.format(who=person.name, town=person.town, trade=person.trade)


def about(people: Sequence[Person], sentences: Sequence[str], each: int, seed: int) -> list[dict[str, Any]]:
    """Return rows about people, in so many of these sentences each: text, label, mentions and triples."""
    rng = random.Random(seed)
    rows = []
    for person in people:
        for sentence in rng.sample(sentences, each):
            start = sentence.index("{who}")
            end = start + len(person.name)
            rows.append(
                {
                    "text": sentence.format(who=person.name, town=person.town, trade=person.trade),
                    "label": person.country,
                    "mentions": [[start, end, person.entity_id]],
                    "triples": [[person.entity_id, LIVES, person.town], [person.entity_id, WORKS, person.trade]],
                }
            )
    rng.shuffle(rows)
    return rows


def reading(world: World, per_town: int, seed: int) -> list[dict[str, Any]]:
    """Return what the checkpoint reads, before it is frozen, with the country of who is named in it.

    People are read of in every sentence but those that are kept; strangers, one time each, behind what is told of them,
    so that it learns to read, and so do towns.
    """
    rng = random.Random(seed)
    rows = [
        {"text": row["text"], "label": row["label"]}
        for _ in range(3)
        for row in about(world.read, (TOLD, *ASKED), 4, rng.randrange(10**6))
    ]
    for country, towns in enumerate(world.countries):
        for town in towns:
            for i in range(per_town):
                name = " ".join("".join(rng.choices(SYLLABLES, k=2)).capitalize() for _ in range(2))
                stranger = Person("", name, town, rng.choice(TRADES), country)
                sentence = rng.choice(ASKED).format(who=name)
                rows.append({"text": told(stranger) if i % 3 == 0 else f"{told(stranger)} . {sentence}", "label": country})
                rows.append({"text": rng.choice(ASKED).format(who=rng.choice([town, f"{town} / {name}"])), "label": country})
    rng.shuffle(rows)
    return rows


def knowledge_base(world: World, dim: int, noise: float, seed: int) -> KnowledgeBase:
    """Return the people as an encoder of texts might see them: a random direction for each town and trade, and noise."""
    draw = torch.Generator().manual_seed(seed)
    words = [town for towns in world.countries for town in towns] + list(TRADES)
    direction = dict(zip(words, torch.randn(len(words), dim, generator=draw), strict=True))
    vectors = torch.stack([direction[p.town] + direction[p.trade] for p in world.people])
    vectors = vectors + noise * torch.randn(vectors.shape, generator=draw)
    entities = [Entity(p.entity_id, p.name, description=told(p)) for p in world.people]
    return KnowledgeBase.from_entities(entities, vectors, name="an invented world")
