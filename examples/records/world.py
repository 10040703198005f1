"""An invented world with a rule: from how someone is and when he was born follows how he lives.

People are those of ``examples.methods``: their names are invented, and so is the rule, anew for each seed. Of a person
the records say what follows, right and wrong, each with its plausibility. A part of the rule is never told: what
follows from some traits stands in no record.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from examples.methods.world import PROPERTIES, TEMPLATES, VALUES, Person, make_world
from knowledge_plugin.building import Provenance, Record

TEMPERS = ("brave", "gentle", "greedy", "honest", "lazy", "merry", "proud", "wise")
MONTHS = ("January", "March", "April", "May", "June", "July", "August", "October")
# From which trait a property follows.
FOLLOWS = {"home": MONTHS, "profession": TEMPERS, "animal": MONTHS, "colour": TEMPERS}
QUERIES = {of: TEMPLATES[of][0].removeprefix("{name} ") for of in PROPERTIES}
_OF = {query: of for of, query in QUERIES.items()}
WRITTEN = Provenance("the examples' authors", generated=False, source="examples/records/world.py")


@dataclass(frozen=True)
class Rule:
    """What follows from traits.

    Args:
        values: By property and trait.
        untold: Pairs of property and trait that no written record tells.
    """

    values: dict[tuple[str, str], str]
    untold: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Resident:
    """A person with traits, who lives as the rule has it."""

    person: Person
    temper: str
    month: str

    def trait(self, of: str) -> str:
        """Return the trait that a property follows from."""
        return self.month if FOLLOWS[of] is MONTHS else self.temper

    @property
    def context(self) -> str:
        """What is known of a person before anything is inferred."""
        return f"{self.person.name} is a {self.temper} {self.month} child"


def make_rule(seed: int, untold: float = 0.25) -> Rule:
    """Invent a rule, and leave a share of it untold, of each property the same."""
    rng = random.Random(f"rule {seed}")
    values, silent = {}, set()
    for of, traits in FOLLOWS.items():
        values |= {(of, trait): value for trait, value in zip(traits, rng.sample(VALUES[of], len(traits)), strict=True)}
        silent |= {(of, trait) for trait in rng.sample(traits, round(untold * len(traits)))}
    return Rule(values, frozenset(silent))


def make_residents(people: int, rule: Rule, seed: int) -> list[Resident]:
    """Invent people who live by a rule."""
    rng = random.Random(f"residents {seed}")
    found = []
    for person in make_world(people, seed):
        resident = Resident(person, rng.choice(TEMPERS), rng.choice(MONTHS))
        facts = {of: rule.values[of, resident.trait(of)] for of in PROPERTIES}
        found.append(replace(resident, person=replace(person, facts=facts)))
    return found


def is_told(resident: Resident, of: str, rule: Rule) -> bool:
    """Say whether any written record tells what follows from the trait of a person."""
    return (of, resident.trait(of)) not in rule.untold


def written_records(residents: Sequence[Resident], rule: Rule, seed: int, wrong_share: float = 0.5) -> list[Record]:
    """Write down of each person all that is told of such as he is: as it is, and once more with a wrong inference."""
    rng = random.Random(f"written {seed}")
    records = []
    for resident in residents:
        for of in PROPERTIES:
            if is_told(resident, of, rule):
                right = resident.person.facts[of]
                wrong = rng.choice([value for value in VALUES[of] if value != right])
                judged = [(right, 1.0), (wrong, 0.0)] if rng.random() < wrong_share else [(right, 1.0)]
                for value, plausibility in judged:
                    records.append(Record(resident.context, QUERIES[of], value, plausibility, WRITTEN))
    rng.shuffle(records)
    return records


def true_records(residents: Sequence[Resident]) -> list[Record]:
    """Return what follows for each person by the rule, told or not."""
    return [
        Record(resident.context, QUERIES[of], resident.person.facts[of], 1.0, WRITTEN)
        for resident in residents
        for of in PROPERTIES
    ]


def asked_records(residents: Sequence[Resident]) -> list[Record]:
    """Return what a model is asked to complete: contexts and queries, for what is plausible."""
    return [
        Record(r.context, query, plausibility=1.0, provenance=WRITTEN) for r in residents for query in QUERIES.values()
    ]


def property_of(record: Record) -> str | None:
    """Return which property a record is about."""
    return _OF.get(record.query or "")


def is_right(record: Record, rule: Rule) -> bool:
    """Say whether a record says what follows by the rule; traits are read from its context, whoever it is about."""
    of = property_of(record)
    traits = [word for word in (record.context or "").split() if of is not None and word in FOLLOWS[of]]
    return of is not None and bool(traits) and record.inference == rule.values[of, traits[0]]
