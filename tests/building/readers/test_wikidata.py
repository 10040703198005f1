from __future__ import annotations

import bz2
import gzip
import json

import pytest

from knowledge_plugin import Entity
from knowledge_plugin.building.readers import wikidata
from knowledge_plugin.building.readers.wikidata import read_wikidata, read_wikidata_triples
from knowledge_plugin.errors import ReaderError
from tests.building.readers.files import MIB, drain, peak, write


def claim(relation: str, tail: str, rank: str = "normal") -> dict:
    value = {"entity-type": "item", "numeric-id": int(tail[1:]), "id": tail}
    snak = {
        "snaktype": "value",
        "property": relation,
        "datavalue": {"value": value, "type": "wikibase-entityid"},
        "datatype": "wikibase-item",
    }
    return {"mainsnak": snak, "type": "statement", "rank": rank}


def item(id: str, label: str, *, links: int = 0, claims: dict | None = None, **more) -> dict:
    return {
        "type": "item",
        "id": id,
        "labels": {"en": {"language": "en", "value": label}},
        "descriptions": [],
        "aliases": [],
        "claims": claims or [],
        "sitelinks": {f"wiki{i}": {"site": f"wiki{i}", "title": label} for i in range(links)} or [],
    } | more


BERLIN = item(
    "Q64",
    "Berlin",
    links=3,
    labels={"en": {"value": "Berlin"}, "it": {"value": "Berlino"}, "de": {"value": "Berlin"}},
    aliases={"en": [{"value": "Berlin, Germany"}], "de": [{"value": "Spree-Athen"}]},
    descriptions={"en": {"value": "capital of Germany"}, "de": {"value": "Hauptstadt"}},
    claims={
        "P31": [claim("P31", "Q515"), claim("P31", "Q1", "deprecated")],
        "P17": [claim("P17", "Q7318"), claim("P17", "Q183", "preferred")],
        "P1082": [
            {
                "mainsnak": {"snaktype": "value", "datavalue": {"type": "quantity", "value": {"amount": "+3"}}},
                "rank": "normal",
            }
        ],
        "P36": [{"mainsnak": {"snaktype": "novalue"}, "rank": "normal"}],
    },
)
ITEMS = [
    BERLIN,
    item("Q42", "Douglas Adams", links=1, claims={"P31": [claim("P31", "Q5")]}),
    item("Q7", "nameless", labels={"fr": {"value": "sans nom"}}),
    item("P31", "instance of") | {"type": "property"},
]


def dump(items: list[dict]) -> str:
    return "[\n" + ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in items) + "\n]\n"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_items_become_entities(tmp_path, pack):
    path = write(tmp_path, "latest-all.json", pack(dump(ITEMS).encode()))
    berlin = Entity("wikidata:Q64", "Berlin", ("Berlin, Germany",), "capital of Germany", ("wikidata:Q515",), 3.0)
    assert list(read_wikidata(path)) == [
        berlin,
        Entity("wikidata:Q42", "Douglas Adams", (), None, ("wikidata:Q5",), 1.0),
    ]


def test_languages_in_order(tmp_path):
    found = next(read_wikidata(write(tmp_path, "a.json", dump(ITEMS)), languages=["it", "de"]))
    assert (found.label, found.aliases, found.description) == ("Berlino", ("Berlin", "Spree-Athen"), "Hauptstadt")
    with pytest.raises(ReaderError, match=r"languages=\['en'\]"):
        drain(read_wikidata(tmp_path / "a.json", languages="en"))


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"types": {"Q5"}}, ["wikidata:Q42"]),
        ({"types": ["wikidata:Q515"]}, ["wikidata:Q64"]),
        ({"types": "Q5"}, ["wikidata:Q42"]),
        ({"types": {"Q1"}}, []),  # deprecated
        ({"types": {"Q183"}}, []),  # its country, not its type
        ({"types": set()}, []),
        ({"min_sitelinks": 2}, ["wikidata:Q64"]),
        ({"languages": ["fr"]}, ["wikidata:Q7"]),
    ],
)
def test_filters(tmp_path, options, ids):
    assert [entity.id for entity in read_wikidata(write(tmp_path, "a.json", dump(ITEMS)), **options)] == ids


def test_the_best_statements_become_triples(tmp_path):
    path = write(tmp_path, "a.json", dump(ITEMS))
    city, country = ("wikidata:Q64", "P31", "wikidata:Q515"), ("wikidata:Q64", "P17", "wikidata:Q183")
    assert sorted(read_wikidata_triples(path)) == sorted([city, country, ("wikidata:Q42", "P31", "wikidata:Q5")])
    assert list(read_wikidata_triples(path, properties={"P17"})) == [country]
    assert sorted(read_wikidata_triples(path, types={"Q515"})) == sorted([city, country])
    assert sorted(read_wikidata_triples(path, min_sitelinks=2)) == sorted([city, country])


def test_old_dumps_number_their_items(tmp_path):
    old = claim("P17", "Q183")
    del old["mainsnak"]["datavalue"]["value"]["id"]
    path = write(tmp_path, "a.json", dump([item("Q64", "Berlin", claims={"P17": [old]})]))
    assert list(read_wikidata_triples(path)) == [("wikidata:Q64", "P17", "wikidata:Q183")]


@pytest.mark.parametrize(
    "line",
    [
        '{"type":"item","id":',
        "[1]",
        '{"type":"item"}',
        '{"type":"item","id":5,"labels":{"en":{"value":"a"}}}',
        '{"type":"item","id":"Q1","labels":{"en":{"value":5}}}',
        '{"type":"item","id":"Q1","labels":{"en":"a"}}',
        '{"type":"item","id":"Q1","labels":{"en":{"value":"a"}},"claims":{"P31":[5]}}',
        '{"type":"item","id":"Q1","labels":{"en":{"value":"a"}},"claims":5,"sitelinks":5}',
        '{"type":"item","id":"Q1","labels":{"en":{"value":"' + "a" * 20_000 + '"}}}',
    ],
)
def test_a_line_that_is_no_item_is_named(tmp_path, line):
    path = write(tmp_path, "a.json", dump(ITEMS[:1]).replace("\n]\n", ",\n" + line + "\n]\n"))
    with pytest.raises(ReaderError, match=r"a\.json:3: "):
        drain(read_wikidata(path))


def test_a_dump_that_is_cut_off_says_where(tmp_path):
    whole = gzip.compress(dump(ITEMS * 200).encode(), mtime=0)
    with pytest.raises(ReaderError, match="damaged or cut off"):
        drain(read_wikidata(write(tmp_path, "a.json.gz", whole[:-100])))


def test_an_item_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(wikidata, "MAX_ITEM_BYTES", 1000)
    with pytest.raises(ReaderError, match=r"a\.json:2: expected a line of at most 1,000 bytes"):
        drain(read_wikidata(write(tmp_path, "a.json", "[\n" + "x" * 5000)))


def test_a_dump_is_streamed(tmp_path):
    path = write(tmp_path, "a.json.gz", gzip.compress(dump(ITEMS * 3_000).encode(), mtime=0))  # 7 MB of JSON
    assert peak(lambda: drain(read_wikidata(path))) < MIB
    assert peak(lambda: drain(read_wikidata_triples(path))) < MIB
