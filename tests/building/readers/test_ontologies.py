from __future__ import annotations

import gzip
import socket
import sys

import pytest

from knowledge_plugin import Entity
from knowledge_plugin.building.readers.ontologies import read_ontology, read_ontology_triples
from knowledge_plugin.errors import MissingDependencyError, ReaderError
from tests.building.readers.files import drain, write

OBO = """format-version: 1.4
ontology: fruit

[Term]
id: F:1
name: fruit

[Term]
id: F:2
name: apple
namespace: edible
def: "A round fruit, of the tree \\"Malus\\"." [book:1]
synonym: "pomme" EXACT []
synonym: "Apfel" EXACT []
synonym: "pome" BROAD []
is_a: F:1 ! fruit
relationship: part_of F:3 ! tree

[Term]
id: F:3
name: tree

[Term]
id: F:4
name: obsolete pear
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""
OWL = """<?xml version="1.0"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:owl="http://www.w3.org/2002/07/owl#"
  xmlns:rdfs="http://www.w3.org/2000/01/rdf-schema#" xmlns:obo="http://www.geneontology.org/formats/oboInOwl#">
 <owl:Ontology rdf:about="http://purl.obolibrary.org/obo/f.owl"/>
 <owl:Class rdf:about="http://purl.obolibrary.org/obo/F_1"><rdfs:label>fruit</rdfs:label></owl:Class>
 <owl:Class rdf:about="http://purl.obolibrary.org/obo/F_2"><rdfs:label>apple</rdfs:label>
  <obo:hasExactSynonym>pomme</obo:hasExactSynonym>
  <rdfs:subClassOf rdf:resource="http://purl.obolibrary.org/obo/F_1"/></owl:Class>
</rdf:RDF>
"""
APPLE = Entity("F:2", "apple", ("Apfel", "pomme"), 'A round fruit, of the tree "Malus".', ("edible",))


@pytest.mark.parametrize(
    "pack", [str.encode, lambda text: gzip.compress(text.encode(), mtime=0), lambda t: b"\xef\xbb\xbf" + t.encode()]
)
def test_the_terms_of_an_obo_file(tmp_path, pack):
    path = write(tmp_path, "a.obo", pack(OBO))
    assert list(read_ontology(path)) == [Entity("F:1", "fruit"), APPLE, Entity("F:3", "tree")]
    assert list(read_ontology_triples(path)) == [("F:2", "is_a", "F:1"), ("F:2", "part_of", "F:3")]


def test_the_classes_of_an_owl_file(tmp_path):
    path = write(tmp_path, "a.owl", OWL)
    assert list(read_ontology(path)) == [Entity("F:1", "fruit"), Entity("F:2", "apple", ("pomme",))]
    assert list(read_ontology_triples(path)) == [("F:2", "is_a", "F:1")]


def test_other_scopes_on_request(tmp_path):
    found = {entity.id: entity for entity in read_ontology(write(tmp_path, "a.obo", OBO), scopes=["EXACT", "BROAD"])}
    assert found["F:2"].aliases == ("Apfel", "pome", "pomme")
    for scopes in ("EXACT", ["CLOSE"]):
        with pytest.raises(ReaderError, match="expected a list of some of EXACT, RELATED, NARROW, BROAD"):
            drain(read_ontology(tmp_path / "a.obo", scopes=scopes))


def test_a_circle_of_is_a_does_no_harm(tmp_path):
    text = "format-version: 1.4\n"
    for i in range(3):
        text += f"\n[Term]\nid: C:{i}\nname: term {i}\nis_a: C:{(i + 1) % 3}\n"
    path = write(tmp_path, "a.obo", text)
    assert [entity.id for entity in read_ontology(path)] == ["C:0", "C:1", "C:2"]
    assert sorted(read_ontology_triples(path)) == [(f"C:{i}", "is_a", f"C:{(i + 1) % 3}") for i in range(3)]


def test_edges_to_obsolete_terms_are_left_out(tmp_path):
    path = write(tmp_path, "a.obo", OBO.replace("is_a: F:1 ! fruit", "is_a: F:4 ! gone"))
    assert list(read_ontology_triples(path)) == [("F:2", "part_of", "F:3")]


def test_what_lies_in_an_import_is_no_term_and_no_error(tmp_path):
    text = OBO.replace("F:1 ! fruit", "X:1").replace("F:3 ! tree", "X:2\nrelationship: grows_on F:3")
    path = write(tmp_path, "a.obo", text)
    assert list(read_ontology(path)) == [Entity("F:1", "fruit"), APPLE, Entity("F:3", "tree")]
    assert list(read_ontology_triples(path)) == [("F:2", "grows_on", "F:3")]


def test_two_hundred_terms(tmp_path):
    text = "format-version: 1.4\n"
    text += "".join(f"\n[Term]\nid: T:{i}\nname: term {i}\nis_a: T:{i // 2}\n" for i in range(1, 201))
    path = write(tmp_path, "a.obo", text)
    assert len(list(read_ontology(path))) == 200
    assert {triple.head for triple in read_ontology_triples(path)} >= {f"T:{i}" for i in range(2, 201)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (OBO.replace("is_a: F:1 ! fruit", "is_a F:1").encode(), r":16: expected an ontology"),
        (OBO.replace('synonym: "pomme"', 'synonym: "pomme').encode(), r":14: expected an ontology"),
        (
            OBO.replace("name: apple", "name: \xe4pple").encode("latin-1"),
            r":10: expected text in UTF-8, found the byte 0xe4",
        ),
        (OBO.replace("name: apple", "name: ap\0le").encode(), r":10: expected text in UTF-8, found a NUL"),
        (OWL[:500].encode(), "expected an ontology"),
        (b"", "expected an ontology"),
        (b"id,label\n1,a\n", "expected an ontology"),
        (OBO.replace("name: apple", "name: " + "a" * 1_000_000).encode(), "F:2: label: expected at most"),
    ],
)
def test_what_is_no_ontology_is_refused(tmp_path, data, message):
    with pytest.raises(ReaderError, match=rf"a\.obo.*{message}"):
        drain(read_ontology(write(tmp_path, "a.obo", data)))


@pytest.mark.parametrize("read", [read_ontology, read_ontology_triples])
def test_an_ontology_that_is_too_large_is_refused(tmp_path, read):
    path = write(tmp_path, "a.obo.gz", gzip.compress(OBO.encode(), mtime=0))
    with pytest.raises(ReaderError, match="at most 100 bytes"):
        drain(read(path, max_bytes=100))
    assert drain(read(path, max_bytes=len(OBO))) > 1


def test_laughter_in_xml_is_not_multiplied(tmp_path):
    lines = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    bomb = OWL.replace("?>\n", f'?>\n<!DOCTYPE x [<!ENTITY l0 "ha">{lines}]>\n', 1).replace(">fruit<", ">&l9;<")
    with pytest.raises(ReaderError):
        drain(read_ontology(write(tmp_path, "a.owl", bomb)))


def test_what_an_ontology_imports_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("asked for an address"))
    path = write(tmp_path, "a.obo", OBO.replace("ontology: fruit", "import: http://example.org/other.obo"))
    assert APPLE in list(read_ontology(path))


def test_without_pronto_it_is_said_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pronto", None)
    with pytest.raises(MissingDependencyError, match=r"knowledge-plugin\[readers\]"):
        drain(read_ontology(write(tmp_path, "a.obo", OBO)))
