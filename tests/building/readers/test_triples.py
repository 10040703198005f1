from __future__ import annotations

import gzip
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowledge_plugin.building.readers import triples
from knowledge_plugin.building.readers.triples import Triple, read_csv, read_ntriples, read_tsv, read_turtle
from knowledge_plugin.errors import MissingDependencyError, ReaderError
from tests.building.readers.files import MIB, drain, peak, words, write

EX = "http://example.org/"
NT = f"""# a comment
<{EX}a> <{EX}in> <{EX}b> .
<{EX}a> <{EX}label> "A \\"quoted\\" name"@en .
_:x <{EX}in> <{EX}b> .
<{EX}a> <{EX}in> _:x .

<{EX}\\u00e9> <{EX}in>\t<{EX}b> . # another
"""
cells = words.filter(bool)
rewrite = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


@rewrite
@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=8))
def test_what_is_written_as_tsv_is_read_again(tmp_path, rows):
    path = write(tmp_path, "a.tsv", "head\trelation\ttail\n" + "".join("\t".join(row) + "\n" for row in rows))
    assert list(read_tsv(path)) == rows


def test_cells_of_csv_may_stand_in_quotes_and_those_of_tsv_keep_theirs(tmp_path):
    assert list(read_csv(write(tmp_path, "a.csv", 'S,p,O\na,in,"b, c"\n\n'))) == [Triple("a", "in", "b, c")]
    assert list(read_tsv(write(tmp_path, "a.tsv", 'a\tin\t"b\n'))) == [Triple("a", "in", '"b')]


def test_a_packed_file_is_read(tmp_path):
    assert list(read_tsv(write(tmp_path, "a.tsv.gz", gzip.compress(b"a\tin\tb\n", mtime=0)))) == [("a", "in", "b")]


@pytest.mark.parametrize(
    ("read", "line", "message"),
    [
        (read_tsv, "a\tb", "found 2 cells"),
        (read_tsv, "a\tb\tc\td", "found 4 cells"),
        (read_tsv, "a\t \tc", "found 3 cells"),
        (read_csv, 'a,b,"c', "do not pair up"),
        (read_csv, "a,b", "found 2 cells"),
        (read_ntriples, f"<{EX}a> <{EX}b>", "a triple in N-Triples"),
        (read_ntriples, f"<{EX}a> <{EX}b> <{EX}c>", "a triple in N-Triples"),
        (read_ntriples, f'"a" <{EX}b> <{EX}c> .', "a triple in N-Triples"),
        (read_ntriples, f'<{EX}a> <{EX}b> "c .', "a triple in N-Triples"),
        (read_ntriples, "a\tin\tb", "a triple in N-Triples"),
    ],
)
def test_a_line_that_is_no_triple_is_named(tmp_path, read, line, message):
    with pytest.raises(ReaderError, match=rf"a\.txt:3: .*{message}"):
        drain(read(write(tmp_path, "a.txt", "\n\n" + line + "\n")))


def test_ntriples_without_blank_nodes_and_texts(tmp_path):
    path = write(tmp_path, "a.nt", NT)
    assert list(read_ntriples(path, prefixes={"ex": EX})) == [("ex:a", "ex:in", "ex:b"), ("ex:é", "ex:in", "ex:b")]
    assert next(read_ntriples(path)).head == f"{EX}a"
    assert Triple("ex:a", "ex:label", 'A "quoted" name') in read_ntriples(path, prefixes={"ex": EX}, literals=True)


def test_of_several_namespaces_the_longest_is_taken(tmp_path):
    path = write(tmp_path, "a.nt", f"<{EX}a/b> <{EX}p> <{EX}> .\n")
    assert list(read_ntriples(path, prefixes={"ex": EX, "exa": EX + "a/"})) == [("exa:b", "ex:p", EX)]


def test_turtle_says_the_same_as_ntriples(tmp_path):
    nt = write(tmp_path, "a.nt", NT)
    turtle = f"@prefix e: <{EX}> .\ne:a e:in e:b, _:x ; e:label 'A \"quoted\" name'@en .\n_:x e:in e:b . e:é e:in e:b ."
    ttl = write(tmp_path, "a.ttl", turtle)
    for options in ({}, {"literals": True}, {"prefixes": {"ex": EX}}):
        assert sorted(read_turtle(ttl, **options)) == sorted(read_ntriples(nt, **options))


def test_wrong_turtle_is_refused_with_its_line(tmp_path):
    with pytest.raises(ReaderError, match=r"a\.ttl:3: expected Turtle"):
        drain(read_turtle(write(tmp_path, "a.ttl", f"@prefix e: <{EX}> .\ne:a e:in e:b .\ne:a e:in ;;; .\n")))
    with pytest.raises(ReaderError, match=r"a\.ttl.*expected Turtle"):
        drain(read_turtle(write(tmp_path, "a.ttl", b"\xff\xfe\x00")))


def test_turtle_that_is_too_large_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(triples, "MAX_TURTLE_BYTES", 100)
    with pytest.raises(ReaderError, match="rapper"):
        drain(read_turtle(write(tmp_path, "a.ttl", "#" * 200)))


def test_triples_are_streamed(tmp_path):
    tsv = write(tmp_path, "a.tsv", "".join(f"head{i}\tin\ttail{i}\n" for i in range(30_000)))
    nt = write(tmp_path, "a.nt", "".join(f"_:b{i} <{EX}in> <{EX}tail{i}> .\n" for i in range(3_000)))
    assert peak(lambda: drain(read_tsv(tsv))) < MIB // 2
    list(read_ntriples(nt))  # what rdflib loads once
    assert peak(lambda: drain(read_ntriples(nt))) < MIB // 2


def test_without_rdflib_it_is_said_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdflib", None)
    for read in (read_turtle, read_ntriples):
        with pytest.raises(MissingDependencyError, match=r"knowledge-plugin\[readers\]"):
            drain(read(write(tmp_path, "a.nt", NT)))
