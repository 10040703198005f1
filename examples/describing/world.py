"""An invented world: people live in towns and have trades; of some, a checkpoint has read."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from knowledge_plugin import Entity, KnowledgeBase

SYLLABLES = tuple(onset + vowel for onset in "bdfgklmnprstvz" for vowel in "aeiou")
TRADES = tuple(
    "baker tailor miller weaver potter smith farmer fisher lawyer doctor teacher painter sailor carpenter mason".split()
)
LIVES, WORKS, COMES = "lives in", "works as a", "comes from"
TOLD = f"{{who}} {COMES} {{country}} {LIVES} {{town}} and {WORKS} {{trade}}"
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
    """One person: where they come from and live, and what they do. ``label`` is the number of the country."""

    entity_id: str
    name: str
    country: str
    town: str
    trade: str
    label: int

    @property
    def triples(self) -> list[list[str]]:
        """All that is known, as triples of entity, relation and object."""
        said = ((COMES, self.country), (LIVES, self.town), (WORKS, self.trade))
        return [[self.entity_id, relation, text] for relation, text in said]


@dataclass(frozen=True)
class World:
    """Everything that there is.

    Args:
        countries: The towns of each, by name.
        read: People of whom the checkpoint has read.
        tuned: People of whom it has not, with whom plugins and adapters are trained.
        held_out: People of whom nobody has read, for questions.
    """

    countries: dict[str, tuple[str, ...]]
    read: tuple[Person, ...]
    tuned: tuple[Person, ...]
    held_out: tuple[Person, ...]

    @property
    def people(self) -> tuple[Person, ...]:
        return self.read + self.tuned + self.held_out


def make_world(*, read: int, tuned: int, held_out: int, countries: int, towns: int, seed: int) -> World:
    """Invent a world of so many people of each kind, and so many towns in each country."""
    rng = random.Random(seed)
    names, places = _words(rng, 2), _words(rng, 3)
    lands = {next(places): tuple(next(places) for _ in range(towns)) for _ in range(countries)}
    people = [
        _person(f"person:{i}", f"{next(names)} {next(names)}", lands, rng) for i in range(read + tuned + held_out)
    ]
    return World(lands, tuple(people[:read]), tuple(people[read : read + tuned]), tuple(people[read + tuned :]))


def strangers(world: World, number: int, seed: int) -> list[Person]:
    """Invent further people, of whom no knowledge base knows."""
    rng = random.Random(f"strangers {seed}")
    names = _words(rng, 2)
    return [_person(f"stranger:{i}", f"{next(names)} {next(names)}", world.countries, rng) for i in range(number)]


def _words(rng: random.Random, syllables: int) -> Iterator[str]:
    return iter(dict.fromkeys("".join(rng.choices(SYLLABLES, k=syllables)).capitalize() for _ in range(20_000)))


def _person(entity_id: str, name: str, lands: Mapping[str, Sequence[str]], rng: random.Random) -> Person:
    country = rng.choice(list(lands))
    return Person(entity_id, name, country, rng.choice(lands[country]), rng.choice(TRADES), list(lands).index(country))


def told(person: Person) -> str:
    """Return all that is known of a person, in words."""
    return written(TOLD, person)


def written(sentence: str, person: Person) -> str:
    """Return a sentence about a person."""
    return sentence.format(who=person.name, country=person.country, town=person.town, trade=person.trade)


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
                    "text": written(sentence, person),
                    "label": person.label,
                    "mentions": [[start, end, person.entity_id]],
                    "triples": person.triples,
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
    rows = [row for _ in range(3) for row in about(world.read, (TOLD, TOLD, *ASKED[:-2]), 4, rng.randrange(10**6))]
    towns = [town for towns in world.countries.values() for town in towns]
    for i, person in enumerate(strangers(world, per_town * len(towns), seed)):
        asked = rng.choice(ASKED)
        rows.append({"text": told(person) if i % 3 == 0 else f"{told(person)} . {written(asked, person)}"})
        rows[-1]["label"] = person.label
        place = rng.choice([person.town, person.country])
        who = rng.choice([place, f"{place} / {person.name}"])
        rows.append({"text": rng.choice(ASKED).format(who=who), "label": person.label})
    rng.shuffle(rows)
    return [{"text": row["text"], "label": row["label"]} for row in rows]


def knowledge_base(world: World, dim: int, noise: float, seed: int) -> KnowledgeBase:
    """Return people as an encoder of texts might see them: a random direction for each town and trade, and noise."""
    draw = torch.Generator().manual_seed(seed)
    words = [town for towns in world.countries.values() for town in towns] + list(TRADES)
    direction = dict(zip(words, torch.randn(len(words), dim, generator=draw), strict=True))
    vectors = torch.stack([direction[p.town] + direction[p.trade] for p in world.people])
    vectors = vectors + noise * torch.randn(vectors.shape, generator=draw)
    entities = [Entity(p.entity_id, p.name, description=told(p)) for p in world.people]
    return KnowledgeBase.from_entities(entities, vectors, name="an invented world")
