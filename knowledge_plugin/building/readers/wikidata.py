"""The JSON dump of Wikidata, an entity at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from knowledge_plugin.building.readers.fields import check_bounds
from knowledge_plugin.building.readers.tables import parse_object
from knowledge_plugin.building.readers.text import read_lines
from knowledge_plugin.building.readers.triples import Triple
from knowledge_plugin.errors import KnowledgeBaseError, ReaderError
from knowledge_plugin.knowledge_base.entity import Entity

MAX_ITEM_BYTES = 2**26  # the largest items have a few million
INSTANCE_OF = "P31"


def read_wikidata(
    path: str | Path,
    *,
    languages: Sequence[str] = ("en", "mul"),
    types: Collection[str] | None = None,
    min_sitelinks: int = 0,
) -> Iterator[Entity]:
    """Yield the items of a dump (``latest-all.json.gz``, ``.bz2``, or unpacked) that pass the filters.

    One item is in memory at a time. The label is that of the first language that has one, aliases come from all of
    ``languages``, types from "instance of" (P31), the popularity is the number of sitelinks. Items without a label
    in these languages are left out, and so are properties and lexemes.

    Args:
        path: The dump: a JSON list with an item on each line, or JSON lines.
        languages: Codes of languages, the most wanted first. ``"mul"`` holds names that are the same in all of them.
        types: Only items that are an instance of one of these: ``{"Q5", "Q515"}``. Subclasses do not count.
        min_sitelinks: Only items with at least as many pages in Wikipedias and their sisters.

    Raises:
        ReaderError: With file and line: damaged, no JSON, no item, or an item of more than :data:`MAX_ITEM_BYTES`.
    """
    if isinstance(languages, str):
        raise ReaderError(f"languages: expected a list of codes, found a text. Type: languages=[{languages!r:.20}]")
    for where, item in _items(path, types):
        try:
            entity = _entity(item, languages, min_sitelinks)
        except (KnowledgeBaseError, AttributeError, KeyError, TypeError) as error:
            raise ReaderError(f"{where}: expected an item of Wikidata: {error!s:.200}.") from None
        if entity is not None:
            check_bounds(where, entity)
            yield entity


def read_wikidata_triples(
    path: str | Path,
    *,
    types: Collection[str] | None = None,
    min_sitelinks: int = 0,
    properties: Collection[str] | None = None,
) -> Iterator[Triple]:
    """Yield what the items of a dump say of other items: ``("wikidata:Q64", "P17", "wikidata:Q183")``.

    Of several statements with one property the preferred ones count, or else the normal ones; deprecated ones never.

    Args:
        path: As for :func:`read_wikidata`.
        types: Only of these heads, likewise.
        min_sitelinks: Only of these heads, likewise.
        properties: Only these, for example ``{"P17", "P31"}``.

    Raises:
        ReaderError: As for :func:`read_wikidata`.
    """
    for where, item in _items(path, types):
        try:
            if len(item.get("sitelinks") or ()) < min_sitelinks:
                continue
            head, claims = _id(item["id"]), _mapping(item.get("claims"))
            for relation in claims if properties is None else claims.keys() & properties:
                for tail in _tails(claims[relation]):
                    yield Triple(head, relation, _id(tail))
        except (AttributeError, KeyError, TypeError) as error:
            raise ReaderError(f"{where}: expected an item of Wikidata: {error!s:.200}.") from None


def _items(path: str | Path, types: Collection[str] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(types, str):
        types = {types}
    wanted = None if types is None else {name.removeprefix("wikidata:") for name in types}
    # Most items fail the filter, and looking for a text costs a hundredth of parsing the line.
    marks = [f'"{name}"' for name in wanted or ()]
    for number, line in read_lines(path, max_line_bytes=MAX_ITEM_BYTES):
        text = line.strip().removesuffix(",")
        if text in ("[", "]", "") or (wanted is not None and not any(mark in text for mark in marks)):
            continue
        where = f"{path}:{number}"
        item = parse_object(where, text)
        if item.get("type", "item") != "item":
            continue
        try:
            _id(item["id"])
            if wanted is None or not wanted.isdisjoint(_types(item)):
                yield where, item
        except (AttributeError, KeyError, TypeError) as error:
            raise ReaderError(f"{where}: expected an item of Wikidata: {error!s:.200}.") from None


def _entity(item: dict[str, Any], languages: Sequence[str], min_sitelinks: int) -> Entity | None:
    sitelinks = len(item.get("sitelinks") or ())
    labels = _mapping(item.get("labels"))
    label = next((labels[code]["value"] for code in languages if code in labels), None)
    if sitelinks < min_sitelinks or label is None:
        return None
    others = _mapping(item.get("aliases"))
    descriptions = _mapping(item.get("descriptions"))
    names = [labels[code]["value"] for code in languages if code in labels]
    names += [alias["value"] for code in languages for alias in others.get(code, ())]
    return Entity(
        _id(item["id"]),
        label,
        aliases=tuple(name for name in dict.fromkeys(names) if name != label),
        description=next((descriptions[code]["value"] for code in languages if code in descriptions), None),
        types=tuple(map(_id, _types(item))),
        popularity=float(sitelinks),
    )


def _types(item: dict[str, Any]) -> list[str]:
    return _tails(_mapping(item.get("claims")).get(INSTANCE_OF, ()))


def _tails(statements: Any) -> list[str]:
    """The items that the best of these statements name."""
    ranks = {statement.get("rank", "normal") for statement in statements}
    best = "preferred" if "preferred" in ranks else "normal"
    found = []
    for statement in statements:
        snak = statement["mainsnak"]
        if statement.get("rank", "normal") != best or snak.get("snaktype", "value") != "value":
            continue
        value = snak["datavalue"]
        if value.get("type") == "wikibase-entityid" and value["value"].get("entity-type", "item") == "item":
            found.append(value["value"].get("id") or f"Q{value['value']['numeric-id']}")
    return list(dict.fromkeys(found))


def _mapping(value: Any) -> dict[str, Any]:
    return value or {}  # PHP writes an empty mapping as []


def _id(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"an id that is no text: {name!r:.40}")
    return f"wikidata:{name}"
