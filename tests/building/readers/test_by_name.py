from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knowledge_plugin import Entity, KnowledgeBase
from knowledge_plugin.building.readers import Triple, read_entities, read_triples, read_vectors
from knowledge_plugin.errors import ReaderError
from tests.building.readers.files import write
from tests.building.readers.test_ontologies import OBO, OWL
from tests.building.readers.test_wikidata import ITEMS, dump
from tests.building.readers.test_wordnet import NOUNS

EDGE = Triple("a", "in", "b")


@pytest.mark.parametrize(
    ("name", "content", "count"),
    [
        ("a.csv", "id,label\n1,a\n", 1),
        ("a.CSV.gz", gzip.compress(b"id,label\n1,a\n", mtime=0), 1),
        ("a.tsv", "id\tlabel\n1\ta\n", 1),
        ("a.jsonl", '{"id": "1", "label": "a"}\n', 1),
        ("2026-11.all.json.gz", gzip.compress(dump(ITEMS).encode(), mtime=0), 2),
        ("dump", gzip.compress(dump(ITEMS).encode(), mtime=0), 2),
        ("a.obo", OBO, 3),
        ("go.v2", OBO, 3),
        ("a.owl", OWL, 2),
        ("wordnet/data.noun", NOUNS, 2),
        ("published/entity_map.txt", "Berlin\tQ64\n", 1),
    ],
)
def test_entities_of_every_format(tmp_path, name, content, count):
    path = write(tmp_path, name, content)
    found = list(read_entities(path.parent if "/" in name else path))
    assert len(found) == count
    assert all(isinstance(entity, Entity) for entity in found)


def test_parquet_whatever_it_is_called(tmp_path):
    for name in ("a.parquet", "0001"):
        pq.write_table(pa.table({"id": ["1"], "label": ["a"]}), tmp_path / name)
        assert list(read_entities(tmp_path / name)) == [Entity("1", "a")]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.tsv", "a\tin\tb\n", EDGE),
        ("train.txt", "a\tin\tb\n", EDGE),
        ("a.csv.gz", gzip.compress(b"a,in,b\n", mtime=0), EDGE),
        ("a.nt", "<u:a> <u:in> <u:b> .\n", ("u:a", "u:in", "u:b")),
        ("a.ttl", "<u:a> <u:in> <u:b> .\n", ("u:a", "u:in", "u:b")),
        ("a.json", dump(ITEMS[1:]), ("wikidata:Q42", "P31", "wikidata:Q5")),
        ("a.obo", OBO, ("F:2", "is_a", "F:1")),
        ("wn/data.noun", NOUNS, ("wordnet:00001740-n", "hyponym", "wordnet:00002000-n")),
    ],
)
def test_triples_of_every_format(tmp_path, name, content, expected):
    path = write(tmp_path, name, content)
    assert next(read_triples(path.parent if "/" in name else path)) == expected


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", "a 1 2\n"), ("a.vec", "1 2\na 1 2\n"), ("a.bin", b"1 2\na " + bytes(8))]
)
def test_vectors_of_word2vec(tmp_path, name, content):
    assert read_vectors(write(tmp_path, name, content)).ids == ["a"]


def test_vectors_with_a_list_of_ids(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 3), np.float32))
    assert read_vectors(tmp_path / "a.npy", ids=write(tmp_path, "names", "a\nb\n")).ids == ["a", "b"]
    (tmp_path / "a.npy").rename(tmp_path / "transe.npy")
    write(tmp_path, "entity2id.txt", "2\nQ1\t1\nQ2\t0\n")
    assert read_vectors(tmp_path).ids == ["wikidata:Q2", "wikidata:Q1"]


@pytest.mark.parametrize(
    ("read", "name", "message"),
    [
        (read_entities, "a.xlsx", r"a file of entities that ends in \.csv.*found '\.xlsx'"),
        (read_triples, "a.rdf", r"a file of triples that ends in \.tsv.*found '\.rdf'"),
        (read_vectors, "vectors", r"a file of vectors that ends in \.npy.*found 'no ending'"),
    ],
)
def test_another_file_is_refused_with_what_can_be_read(tmp_path, read, name, message):
    with pytest.raises(ReaderError, match=message):
        read(write(tmp_path, name, "something"))
    with pytest.raises(ReaderError, match="expected a folder with"):
        read(tmp_path)
    with pytest.raises(ReaderError, match="found nothing there"):
        read(tmp_path / "none.csv")


def test_from_files_to_a_knowledge_base(tmp_path):
    write(tmp_path, "a.csv", "id,label,aliases\nx:1,Berlin,Berlino\nx:2,Kyiv,\n")
    write(tmp_path, "a.vec", "2 2\nx:2 0 1\nx:1 1 0\n")
    ids, vectors = read_vectors(tmp_path / "a.vec")
    rows = {id: row for row, id in enumerate(ids)}
    entities = list(read_entities(tmp_path / "a.csv"))
    kb = KnowledgeBase.from_entities(
        entities, vectors[[rows[entity.id] for entity in entities]], name="t", id_scheme="x", license="cc0-1.0"
    )
    assert kb.vectors(kb.rows(["x:2"])).tolist() == [[0.0, 1.0]]
