"""Invented domains that share names: a ship, a herb and a guild are called alike, and are of different lands."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from examples.long_tail.world import ONE, SYLLABLES, TWO
from knowledge_plugin import Entity, KnowledgeBase

DOMAINS = ("ships", "herbs", "guilds")
# What a question names first, and what stands beside it.
KINDS = tuple(f"{name}, {company}" for name in ("own name", "shared name") for company in ("alone", "kin", "strange"))


@dataclass(frozen=True)
class Thing:
    """One thing of a domain.

    Args:
        entity_id: ``"ships:12"``.
        name: Two invented words.
        domain: Its domain.
        land: What is asked; drawn at random, so that no name tells it.
        shared: Whether things of the other domains have the same name.
        asked: Whether it is asked about; a mapping is tuned on the others.
    """

    entity_id: str
    name: str
    domain: str
    land: int
    shared: bool
    asked: bool


def make_things(*, asked: int, tuned: int, lands: int, seed: int) -> list[Thing]:
    """Invent things: of each domain ``tuned`` to tune on, and ``asked`` with names of their own and as many shared."""
    rng = random.Random(f"domains {seed}")
    words = iter(dict.fromkeys("".join(rng.choices(SYLLABLES, k=2)).capitalize() for _ in range(50_000)))
    names = iter(lambda: f"{next(words)} {next(words)}", None)
    shared = [next(names) for _ in range(asked)]
    things = []
    for domain in DOMAINS:
        called = [*((name, True, True) for name in shared)]
        called += [(next(names), False, i < asked) for i in range(asked + tuned)]
        for i, (name, is_shared, is_asked) in enumerate(called):
            things.append(Thing(f"{domain}:{i}", name, domain, rng.randrange(lands), is_shared, is_asked))
    return things


def knowledge_base(
    things: Sequence[Thing], *, lands: int, dim: int, noise: float, seed: int
) -> dict[str, KnowledgeBase]:
    """Return a knowledge base of each domain, in a vector space of its own.

    A vector is the centre of the land and noise, turned by a rotation that is the domain's alone: a mapping of one
    domain says nothing of another.
    """
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(lands, dim, generator=generator)
    found = {}
    for domain in DOMAINS:
        mine = [thing for thing in things if thing.domain == domain]
        turn = torch.linalg.qr(torch.randn(dim, dim, generator=generator)).Q
        vectors = centres[[thing.land for thing in mine]] + noise * torch.randn(len(mine), dim, generator=generator)
        entities = [Entity(thing.entity_id, thing.name) for thing in mine]
        found[domain] = KnowledgeBase.from_entities(entities, vectors @ turn, name=domain)
    return found


def questions(things: Sequence[Thing], seed: int, *, times: int = 2) -> list[dict[str, Any]]:
    """Return rows about all that is asked, in every kind of company: nobody, one of its domain, one of another."""
    rng = random.Random(seed)
    return [
        _question(thing, kind, things, rng)
        for thing in things
        if thing.asked
        for kind in KINDS
        if kind.startswith("shared") == thing.shared
        for _ in range(times)
    ]


def lessons(things: Sequence[Thing], domain: str, seed: int, *, times: int) -> list[dict[str, Any]]:
    """Return rows about what is not asked about, of one domain: half of them alone, half beside one of the domain."""
    rng = random.Random(f"{domain} {seed}")
    known = [thing for thing in things if thing.domain == domain and not thing.asked]
    return [
        _question(thing, f"own name, {'kin' if i % 2 else 'alone'}", known, rng)
        for thing in known
        for i in range(times)
    ]


def _question(thing: Thing, kind: str, things: Sequence[Thing], rng: random.Random) -> dict[str, Any]:
    company = kind.rpartition(", ")[2]
    other = ""
    if company != "alone":
        # Whoever stands beside has a name of its own: it is what tells the domain.
        fit = [
            t for t in things if (t.domain == thing.domain) == (company == "kin") and not t.shared and t is not thing
        ]
        other = rng.choice(fit).name
    text = rng.choice(TWO if other else ONE).format(who=thing.name, other=other)
    return {"text": text, "label": thing.land, "thing": thing, "kind": kind}
