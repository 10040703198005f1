from __future__ import annotations

import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from knowledge_plugin import Entity
from knowledge_plugin.building.readers import tables
from knowledge_plugin.building.readers.tables import read_csv, read_jsonl, read_parquet
from knowledge_plugin.errors import ReaderError
from tests.building.readers.files import MIB, drain, entity_lists, peak, write

CITIES = [
    Entity("g:1", "Berlin", ("Berlino", "Spree-Athen"), "The capital, so to speak", ("city", "capital"), 3_426_354.0),
    Entity("g:2", 'The "Pott"'),
]
rewrite = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


def as_row(entity: Entity) -> dict:
    return {name: getattr(entity, name) for name in ("id", "label", "aliases", "description", "types", "popularity")}


def as_csv(entities: list[Entity], delimiter: str = ",") -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(as_row(entities[0]))
    for entity in entities:
        row = as_row(entity)
        row["aliases"], row["types"] = "|".join(entity.aliases), "|".join(entity.types)
        row["popularity"] = "" if entity.popularity is None else repr(entity.popularity)
        writer.writerow(row.values())
    return out.getvalue()


def as_parquet(entities: list[Entity], path, **options) -> None:
    rows = [as_row(entity) for entity in entities]
    text, texts = pa.string(), pa.list_(pa.string())
    types = dict(zip(rows[0], (text, text, texts, text, texts, pa.float64()), strict=True))
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(types)), path, **options)


@pytest.mark.filterwarnings("ignore:.*no cell of aliases has")
@rewrite
@given(entity_lists)
def test_what_is_written_as_csv_is_read_again(tmp_path, entities):
    assert list(read_csv(write(tmp_path, "a.csv", as_csv(entities)))) == entities


@pytest.mark.filterwarnings("ignore:.*no cell of aliases has")
@rewrite
@given(entity_lists)
def test_what_is_written_as_jsonl_is_read_again(tmp_path, entities):
    lines = "".join(json.dumps(as_row(entity)) + "\n" for entity in entities)
    assert list(read_jsonl(write(tmp_path, "a.jsonl", lines))) == entities


@pytest.mark.filterwarnings("ignore:.*no cell of aliases has")
@rewrite
@given(entity_lists)
def test_what_is_written_as_parquet_is_read_again(tmp_path, entities):
    as_parquet(entities, tmp_path / "a.parquet")
    assert list(read_parquet(tmp_path / "a.parquet")) == entities


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_seen_in_the_first_line(tmp_path, delimiter):
    assert list(read_csv(write(tmp_path, "a.csv", as_csv(CITIES, delimiter)))) == CITIES


@pytest.mark.filterwarnings("ignore:.*columns that are not used")
def test_a_packed_table_with_a_mark_in_another_order_is_read(tmp_path):
    text = "\ufeffPopularity,LABEL,more,Id\r\n5,Bonn,x,1\r\n\r\n,Köln,y,2\r\n"
    path = write(tmp_path, "a.csv.gz", gzip.compress(text.encode(), mtime=0))
    assert list(read_csv(path, id_prefix="g:")) == [Entity("g:1", "Bonn", popularity=5.0), Entity("g:2", "Köln")]


def test_a_row_may_go_over_lines_and_its_errors_name_its_first(tmp_path):
    good = 'id,label,description\n1,a,"two\nlines"\n'
    assert next(read_csv(write(tmp_path, "a.csv", good))).description == "two\nlines"
    with pytest.raises(ReaderError, match=r"a\.csv:4: expected an id"):
        drain(read_csv(write(tmp_path, "a.csv", good + ' ,b,"more\nlines"\n')))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("id,name\n1,a\n", ":1: expected a column 'label', found 'id', 'name'"),
        ("id,label\n1,a\n2\n", ":3: expected 2 cells as in the first line, found 1"),
        ("id,label\n1,a,b\n", ":2: expected 2 cells as in the first line, found 3"),
        ("id,label\n1,a\n,b\n", ":3: expected an id"),
        ("id,label\n1,a\n2,b\n1,c\n", ":4: the id '1' was there before, in line 2"),
        ('id,label\n1,a\n2,"b\n3,c\n', ":3: .*not closed"),
        ('id,label\n1,"a"b\n', ":2: .*written twice"),
        ("id,label\n1,a\0b\n", ":2: .*NUL"),
        (b"id,label\n1,a\n2,\xff\n", ":3: .*0xff"),
        ("id,label\n1," + "x" * 1_000_000 + "\n", ":2: .*too long"),
        ("id,label\n1," + "x" * 100_000 + "\n", ":2: label: expected at most"),
        ("id,label,popularity\n1,a,few\n", ":2: .*popularity"),
    ],
)
def test_a_sloppy_csv_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(ReaderError, match=rf"a\.csv.*{message}"):
        drain(read_csv(write(tmp_path, "a.csv", text)))


def test_a_quote_that_is_not_closed_does_not_take_the_whole_file(tmp_path):
    path = write(tmp_path, "a.csv", 'id,label\n1,"a\n' + "2,b\n" * 1_000_000)

    def read() -> None:
        with pytest.raises(ReaderError, match=r"a\.csv:2: .*not closed"):
            drain(read_csv(path))

    assert peak(read) < 16 * MIB


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "a JSON object, found list"),
        ("{", "a JSON object on one line"),
        ("[" * 100_000, "a JSON object on one line"),
        ('{"id": ' + "9" * 10_000 + ', "label": "a"}', "a JSON object on one line"),
        ('{"label": "a"}', "a column 'id', found 'label'"),
        ('{"id": "2", "label": null, "aliases": 5}', "aliases"),
        ('{"id": "2", "label": "a", "popularity": Infinity}', "popularity"),
        ('{"id": "1", "label": "a"}', "was there before, in line 1"),
    ],
)
def test_a_sloppy_jsonl_is_refused_with_its_line(tmp_path, line, message):
    path = write(tmp_path, "a.jsonl", '{"id": "1", "label": "x"}\n\n' + line + "\n")
    with pytest.raises(ReaderError, match=rf"a\.jsonl:3: .*{message}"):
        drain(read_jsonl(path))


def test_objects_may_leave_fields_out_even_those_with_another_name(tmp_path):
    text = '{"id": "1", "title": "a", "also": ["b"]}\n{"title": "c", "id": "2"}\n'
    found = list(read_jsonl(write(tmp_path, "a.jsonl", text), columns={"label": "title", "aliases": "also"}))
    assert found == [Entity("1", "a", ("b",)), Entity("2", "c")]


def test_lists_in_parquet_may_be_texts_and_dictionaries(tmp_path):
    table = pa.table({"ID": [1, 2], "label": pa.array(["a", "b"]).dictionary_encode(), "aliases": ["x|y", None]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert list(read_parquet(tmp_path / "a.parquet")) == [Entity("1", "a", ("x", "y")), Entity("2", "b")]


def test_a_parquet_table_says_which_row_is_wrong(tmp_path):
    path = tmp_path / "a.parquet"
    for ids, message in ((["1", None], "row 2: expected an id"), (["1", "1"], "in row 1")):
        pq.write_table(pa.table({"id": ids, "label": ["a", "b"]}), path)
        with pytest.raises(ReaderError, match=message):
            drain(read_parquet(path))
    pq.write_table(pa.table({"id": ["1"], "name": ["a"]}), path)
    with pytest.raises(ReaderError, match="expected a column 'label', found 'id', 'name'"):
        drain(read_parquet(path))


def test_a_damaged_parquet_file_is_said_to_be(tmp_path):
    path = tmp_path / "a.parquet"
    as_parquet([Entity(f"{i}", f"name {i}") for i in range(2000)], path)
    whole = path.read_bytes()
    for data in (b"", whole[:-20], whole[:100] + bytes(100) + whole[200:], b"PAR1" + bytes(50) + b"PAR1"):
        with pytest.raises(ReaderError, match=r"a\.parquet: expected a whole Parquet file"):
            drain(read_parquet(write(tmp_path, "a.parquet", data)))


def test_a_parquet_file_of_few_bytes_and_many_rows_is_refused_unread(tmp_path):
    same = pa.DictionaryArray.from_arrays(pa.array([0] * 3_000_000, pa.int32()), ["x"])
    pq.write_table(pa.table({"id": same, "label": same}), tmp_path / "a.parquet")
    with pytest.raises(ReaderError, match=r"expected at most .* rows in a file of its size, found 3,000,000"):
        next(read_parquet(tmp_path / "a.parquet"))


@pytest.mark.parametrize("column", ["label", "aliases"])
def test_a_parquet_file_that_repeats_one_long_text_does_not_fill_the_memory(tmp_path, monkeypatch, column):
    monkeypatch.setattr(tables, "_MAX_TEXT_BYTES", 2**14)
    path = tmp_path / "a.parquet"
    count = 2_000
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["x" * 50_000])
    if column == "aliases":
        repeated = pa.ListArray.from_arrays(pa.array(range(count + 1), pa.int32()), repeated.cast(pa.string()))
    ids = [str(i) for i in range(count)]
    pq.write_table(pa.table({"id": ids, "label": ids} | {column: repeated}), path, compression="zstd")
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    default = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        with pytest.raises(ReaderError, match="expected short texts, found one of 50,000 bytes"):
            drain(read_parquet(path))
    finally:
        pa.set_memory_pool(default)
    assert 0 < pool.max_memory() < 16 * MIB  # a batch of the texts would be 51 MB


def test_a_large_row_group_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_MAX_GROUP_BYTES", 1000)
    path = tmp_path / "a.parquet"
    as_parquet([Entity(f"{i}", f"name {i}") for i in range(200)], path)
    with pytest.raises(ReaderError, match="smaller row groups"):
        drain(read_parquet(path))


def test_tables_are_streamed(tmp_path):
    entities = [Entity(f"g:{i}", f"name {i}", (f"alias {i}",), f"The thing with number {i}") for i in range(12_000)]
    as_parquet(entities, tmp_path / "a.parquet")
    write(tmp_path, "a.csv", as_csv(entities))
    write(tmp_path, "a.jsonl", "".join(json.dumps(as_row(entity)) + "\n" for entity in entities))
    del entities
    for read, name in ((read_csv, "a.csv"), (read_jsonl, "a.jsonl"), (read_parquet, "a.parquet")):
        assert peak(lambda read=read, name=name: drain(read(tmp_path / name))) < 4 * MIB  # all of them take 8


def test_the_first_entity_is_there_before_the_last_line_is_read(tmp_path):
    rows = read_csv(write(tmp_path, "a.csv", "id,label\n1,a\n,broken\n"))
    assert next(rows) == Entity("1", "a")


def test_lists_of_more_texts_than_a_dictionary_holds(tmp_path):
    rows = 30_000
    table = pa.table(
        {
            "id": [f"x:{i}" for i in range(rows)],
            "label": [f"entity {i}" for i in range(rows)],
            "aliases": [[f"a name of entity {i}, and a long one", "the same"] for i in range(rows)],
        }
    )
    pq.write_table(table, tmp_path / "large.parquet", row_group_size=20_000, dictionary_pagesize_limit=1_000)
    found = list(read_parquet(tmp_path / "large.parquet"))
    assert [entity.id for entity in found] == table["id"].to_pylist()
    assert [list(entity.aliases) for entity in found] == table["aliases"].to_pylist()
