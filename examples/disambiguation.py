"""Which city of that name? The prior against the other mentions of the sentence, on GeoNames, with controls.

    python -m examples.disambiguation            # about two minutes on two cores, most of it for the vectors

A sentence names two cities of one country: one by a name that several cities bear, which is the one to be told, and
another, which may be ambiguous too. The bearers are in different countries, and every city that has the name as its
label is asked for once, however small. That is hard on the prior: where people write of large cities more often than
of small ones, it is right more often than here. The vectors come from the graph alone: regions,
countries, time zones and neighbouring cities.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from examples.geography.data import GeoNames, build_entities, build_triples, countries_of, load_geonames
from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase
from knowledge_plugin.building.graph_embedding import embed_graph
from knowledge_plugin.evaluation import random as random_vectors
from knowledge_plugin.evaluation import shuffled
from knowledge_plugin.linking.mention import Mention

TEMPLATES = (
    "The road from {other} to {city} was blocked.",
    "Her sister moved from {other} to {city}.",
    "In {city}, as in {other}, rents have doubled.",
    "People in {other} and {city} complained about the noise.",
)


class Question(NamedTuple):
    """A sentence, where the ambiguous name stands in it, who is meant, and how many bear the name."""

    text: str
    start: int
    end: int
    entity_id: str
    bearers: int


def build_knowledge_base(geonames: GeoNames, seed: int = 0, epochs: int | None = None) -> KnowledgeBase:
    """Return GeoNames with vectors that were trained on its graph."""
    ids, vectors = embed_graph(build_triples(geonames), epochs=epochs, seed=seed)
    row = {entity_id: i for i, entity_id in enumerate(ids)}
    entities = [entity for entity in build_entities(geonames) if entity.id in row]
    return KnowledgeBase.from_entities(
        entities, vectors[torch.tensor([row[entity.id] for entity in entities])], name="geonames", id_scheme="geonames"
    )


def build_questions(geonames: GeoNames, kb: KnowledgeBase, count: int, seed: int = 0) -> list[Question]:
    """Draw sentences in which the context can tell: one bearer of the name in the country, and spans that are linked.

    Args:
        geonames: The tables.
        kb: Who bears which name.
        count: How many sentences at most.
        seed: For names, cities and templates.
    """
    rng = random.Random(seed)
    country = countries_of(geonames)
    cities = [entity for entity in build_entities(geonames) if entity.id in country]
    by_country: dict[str, list[Entity]] = defaultdict(list)
    for city in cities:
        by_country[country[city.id]].append(city)
    lookup, linker = kb.alias_lookup("insensitive"), DictionaryLinker(kb)
    questions: list[Question] = []
    for city in rng.sample(cities, len(cities)):
        bearers = [kb.entity_id(row) for row, _ in lookup.candidates(city.label.lower())]
        homes = [country.get(entity_id) for entity_id in bearers]
        if len(bearers) < 2 or None in homes or len(set(homes)) < len(homes):
            continue
        other, template = rng.choice(by_country[country[city.id]]), rng.choice(TEMPLATES)
        text = template.format(city=city.label, other=other.label)
        spans = {text[m.start : m.end]: m for m in linker([text])[0]}
        if other.label != city.label and set(spans) == {other.label, city.label}:
            found = spans[city.label]
            questions.append(Question(text, found.start, found.end, city.id, len(bearers)))
        if len(questions) == count:
            break
    return questions


def accuracy(linked: list[list[Mention]], questions: Sequence[Question]) -> float:
    """Return the share of questions whose mention is linked to the right entity."""
    wanted = [(q.start, q.end, q.entity_id) for q in questions]
    return sum(want in [m[:3] for m in row] for want, row in zip(wanted, linked, strict=True)) / len(questions)


def measure(kb: KnowledgeBase, questions: Sequence[Question], seed: int) -> dict[str, float]:
    """Return the accuracy of each way to choose."""
    texts = [q.text for q in questions]

    def context(base: KnowledgeBase) -> float:
        return accuracy(DictionaryLinker(base, disambiguate="context")(texts), questions)

    return {
        "any bearer, by chance": sum(1 / q.bearers for q in questions) / len(questions),
        "prior: the most populous": accuracy(DictionaryLinker(kb)(texts), questions),
        "context: neighbours": context(kb),
        "  the same, vectors shuffled": context(shuffled(kb, seed=seed)),
        "  the same, random vectors": context(random_vectors(kb, seed=seed)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="sentences for each seed")
    parser.add_argument("--seeds", type=int, default=3, help="of sentences and of vectors")
    parser.add_argument("--population", type=int, default=15_000, help="cities of at least so many inhabitants")
    parser.add_argument("--epochs", type=int, help="of the graph embedding")
    arguments = parser.parse_args()
    geonames = load_geonames(arguments.population)
    runs = []
    for seed in range(arguments.seeds):
        kb = build_knowledge_base(geonames, seed, arguments.epochs)
        questions = build_questions(geonames, kb, arguments.count, seed)
        runs.append(measure(kb, questions, seed))
    table = Table(title=f"{len(questions)} sentences with an ambiguous city, {len(runs)} seeds", title_justify="left")
    table.add_column("the entity is chosen by ...")
    table.add_column("right", justify="right")
    for name in runs[0]:
        shares = [100 * run[name] for run in runs]
        table.add_row(name, f"{sum(shares) / len(shares):.1f} % ({min(shares):.1f} to {max(shares):.1f})")
    Console().print(table)


if __name__ == "__main__":
    main()
