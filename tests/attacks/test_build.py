"""Files that nobody should build from, and sloppy ones: an error with its place, little memory, nothing half-made."""

from __future__ import annotations

import gzip

import numpy as np
import pronto  # noqa: F401  # takes more memory to import than a file may
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knowledge_plugin import KnowledgeBase
from knowledge_plugin.building.builder import build_knowledge_base
from knowledge_plugin.building.embedders import Embedding
from knowledge_plugin.errors import KnowledgePluginError
from tests.building.readers.files import peak

MEGABYTE = 2**20


def embed(source):
    ids = source.entities["id"].to_pylist()
    return Embedding(ids, np.ones((len(ids), 2), np.float32))


def build(path, **options):
    folder = path.parent / "kb"
    build_knowledge_base(folder, path, **{"embedder": embed, "name": "t", "progress": False} | options)
    return KnowledgeBase.from_pretrained(folder)


HEAD = b"id,label,aliases\n"
HOSTILE = {
    "a quote that is not closed": ("a.csv", HEAD + b'x:1,"Aspirin,\n' + b"x:2,B,\n" * 200_000, r"a\.csv:2: "),
    "another encoding": ("a.csv", HEAD + "x:1,A,\nx:2,Caf\xe9,\n".encode("latin-1"), r"a\.csv:3: .*(UTF-8|utf-8)"),
    "UTF-16": ("a.csv", "id,label\nx:1,A\n".encode("utf-16"), r"a\.csv"),
    "a blank id": ("a.csv", HEAD + b"x:1,A,\n  ,B,\n", r"a\.csv:3: expected an id"),
    "a label of a million characters": ("a.csv", HEAD + b"x:1," + b"A" * MEGABYTE + b",\n", r"a\.csv:2: "),
    "an id twice": ("a.csv", HEAD + b"x:1,A,\nx:1,B,\n", r"a\.csv:3: the id 'x:1' was there before, in line 2"),
    "too many cells": ("a.csv", HEAD + b"x:1,A,,,,\n", r"a\.csv:2: expected 3 cells"),
    "no label": ("a.csv", b"id,name\nx:1,A\n", r"a\.csv:1: expected a column 'label'"),
    "nothing": ("a.csv", b"", r"a\.csv: expected a first line"),
    "a head and nothing else": ("a.csv", HEAD, "expected at least one entity, found none"),
    "no JSON": ("a.jsonl", b'{"id": "x:1", "label": "A"}\n{"id": \n', r"a\.jsonl:2: expected a JSON object"),
    "no names": ("a.csv", HEAD + b"x:1, ,\n", "1 entities have no name"),
    "no OBO": ("a.obo", b"format-version: 1.2\n\n[Term]\nid X:1\n", r"a\.obo"),
    "no Parquet": ("a.parquet", b"PAR1" + b"\0" * 100 + b"PAR1", "expected a whole Parquet file"),
    "a gzip bomb": ("a.csv.gz", gzip.compress(HEAD + b"x:1," + b"A" * (300 * MEGABYTE)), r"a\.csv\.gz:2: "),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_error_with_its_place_and_nothing_half_made(tmp_path, case):
    name, content, message = HOSTILE[case]
    (tmp_path / name).write_bytes(content)

    def attempt():
        with pytest.raises(KnowledgePluginError, match=message):
            build(tmp_path / name)

    assert peak(attempt) < 64 * MEGABYTE
    assert not (tmp_path / "kb").exists()
    # What was read without an error may stay, for the next attempt; nothing else.
    assert {path.name for path in tmp_path.iterdir()} <= {name, "kb.building"}
    if case != "no names":
        assert not (tmp_path / "kb.building").exists()


SLOPPY = {
    "a byte-order mark": ("a.csv", b"\xef\xbb\xbf" + HEAD + b"x:1,A,B\n"),
    "line ends of Windows": ("a.csv", HEAD.replace(b"\n", b"\r\n") + b"x:1,A,B\r\n"),
    "semicolons and blanks": ("a.csv", b"ID; Label ;aliases\nx:1 ; A ; B \n"),
    "an alias many times": ("a.csv", HEAD + b"x:1,A," + b"|".join([b"B", b" B", b"A", b""] * 1_000) + b"\n"),
    "packed": ("a.csv.gz", gzip.compress(HEAD + b"x:1,A,B\n")),
    "no line end at the end": ("a.jsonl", b'{"id": "x:1", "label": "A", "aliases": ["B", "B"]}'),
}


@pytest.mark.parametrize("case", SLOPPY)
def test_what_is_meant_is_plain(tmp_path, case):
    name, content = SLOPPY[case]
    (tmp_path / name).write_bytes(content)
    kb = build(tmp_path / name)
    assert [(e.id, e.names) for e in kb] == [("x:1", ("A", "B"))]


def test_terms_that_are_each_others_parents(tmp_path):
    terms = "".join(f"\n[Term]\nid: T:{i}\nname: term {i}\nis_a: T:{(i + 1) % 30}\n" for i in range(30))
    (tmp_path / "a.obo").write_text("format-version: 1.2\n" + terms)
    kb = build(tmp_path / "a.obo", triples=tmp_path / "a.obo")
    assert len(kb) == 30


def test_a_billion_declared_rows(tmp_path):
    table = pa.table(
        {
            "id": pa.array(["x"]).dictionary_encode().take(pa.array([0] * 30_000_000)),
            "label": pa.nulls(30_000_000, pa.string()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", write_statistics=False)
    with pytest.raises(KnowledgePluginError, match="expected at most"):
        build(tmp_path / "a.parquet")
    assert not (tmp_path / "kb.building").exists()


@pytest.mark.parametrize("content", [b"x:1\tr\n", b"x:1\tr\tx:2\textra\n", b"\xff\xfe\tr\tx\n"])
def test_triples_that_are_none(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(HEAD + b"x:1,A,\n")
    (tmp_path / "t.tsv").write_bytes(b"x:1\tr\tx:2\n" + content)
    with pytest.raises(KnowledgePluginError, match=r"t\.tsv:2: "):
        build(tmp_path / "a.csv", triples=tmp_path / "t.tsv")
    assert not (tmp_path / "kb").exists()
