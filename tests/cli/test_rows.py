from __future__ import annotations

import gzip
import json

import pytest

from knowledge_plugin.cli.rows import read_rows
from knowledge_plugin.errors import ReaderError


@pytest.fixture
def written(tmp_path):
    def write(content, name="rows.csv"):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write


MENTIONS = [
    [[0, 7, "e:1"]],
    [[0, 7, "e:1", 0.5]],
    [{"start": 0, "end": 7, "entity_id": "e:1"}],
    [],
]


@pytest.mark.parametrize("mentions", MENTIONS)
def test_mentions_of_every_form(written, mentions):
    row = {"text": "Veldora is here", "label": 1, "mentions": mentions}
    assert read_rows(written(json.dumps(row), "rows.jsonl")) == [row]
    cell = json.dumps(mentions).replace('"', '""')
    assert read_rows(written(f'text,label,mentions\nVeldora is here,1,"{cell}"\n')) == [row]


def test_rows_may_have_mentions_of_different_forms(written):
    rows = [{"text": "Veldora", "mentions": mentions} for mentions in MENTIONS]
    assert read_rows(written("\n".join(map(json.dumps, rows)), "rows.jsonl")) == rows


def test_triples_in_a_cell(written):
    found = read_rows(written('text,triples\nVeldora,"[[""e:1"", null, ""a painter""]]"\nKorsar,\n'))
    assert found[0]["triples"] == [["e:1", None, "a painter"]]
    assert found[1]["triples"] is None


def test_a_text_that_looks_like_a_number_is_a_text(written):
    assert read_rows(written("text,text_pair,label\n007,1.50,0\n12,true,1\n")) == [
        {"text": "007", "text_pair": "1.50", "label": 0},
        {"text": "12", "text_pair": "true", "label": 1},
    ]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["0", " 3", "-100"], [0, 3, -100]),
        (["1.0", "2"], [1.0, 2.0]),
        (["True", "false"], [True, False]),
        (["1", ""], [1, None]),
        (["1.0", "NaN"], [1.0, None]),
        (["007", "1"], ["007", "1"]),
        (["Graz", ""], ["Graz", ""]),
        (["NA", "Graz"], ["NA", "Graz"]),
        (["1984", "Graz"], ["1984", "Graz"]),
    ],
)
def test_labels_of_a_table(written, cells, expected):
    lines = [f'here,"{cell}"' for cell in cells]
    assert [row["label"] for row in read_rows(written("\n".join(["text,label", *lines])))] == expected


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_the_delimiter_is_guessed(written, delimiter):
    lines = [delimiter.join(cells) for cells in [("text", "label"), ("Veldora is here", "0"), ("Korsar", "1")]]
    found = read_rows(written("\n".join(lines)))
    assert found == [{"text": "Veldora is here", "label": 0}, {"text": "Korsar", "label": 1}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "sentence,Label,more\nVeldora,0,a\n"),
        ("rows.jsonl", '{"sentence": "Veldora", "LABEL": 0, "more": "a"}'),
    ],
)
def test_columns_of_other_names(written, name, content):
    found = read_rows(written(content, name), {"text": "sentence"})
    assert found == [{"text": "Veldora", "label": 0, "more": "a"}]


def test_a_column_beside_the_one_that_is_meant(written):
    path = written("text,sentence,label\n1,Veldora,0\n")
    assert read_rows(path, {"text": "sentence"}) == [{"text": "Veldora", "label": 0}]


def test_a_byte_order_mark_and_a_packed_file(tmp_path):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbftext,label\nVeldora,0\n"))
    assert read_rows(path) == [{"text": "Veldora", "label": 0}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", "not json", "rows.jsonl:1: expected a JSON object .* Expected JSON Lines, or a table"),
        ("rows.jsonl", '[{"text": "a"}]', "expected a JSON object, found list"),
        ("rows.jsonl", '{"text": "a"}\n\n{"text": null}', "rows.jsonl:3: text: expected a text, found None"),
        ("rows.jsonl", '{"text": 7}', "rows.jsonl:1: text: expected a text, found 7"),
        ("rows.jsonl", '{"text": "a"}\n{"txt": "b"}', "rows.jsonl:2: .* found the columns 'txt'. .*--column text="),
        ("rows.csv", "sentence,label\na,1\n", "found the columns 'sentence', 'label'. .*--column text="),
        ("rows.csv", "text,text\na,1\n", "expected one column 'text', found 2"),
        ("rows.csv", "text,label\n", "expected rows with 'text' and 'label', found none"),
        ("rows.csv", "text,label\na,b,c\n", "rows.csv:2: expected 2 cells"),
        ("rows.csv", 'text,mentions\na,"0-7"\n', r"rows.csv:2: mentions: expected JSON such as \[\[0, 4"),
        ("rows.jsonl", "", "found none"),
    ],
)
def test_what_is_no_file_of_rows(written, name, content, message):
    with pytest.raises(ReaderError, match=message):
        read_rows(written(content, name))


def test_a_column_that_is_not_there_and_a_field_that_is_none(written):
    path = written("sentence,label\na,1\n")
    with pytest.raises(ReaderError, match=r"expected rows with 'phrase'.*--column text=\.\.\."):
        read_rows(path, {"text": "phrase"})
    with pytest.raises(ReaderError, match=r"expected some of text, .* found txt"):
        read_rows(path, {"txt": "sentence"})
