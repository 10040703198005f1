from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowledge_plugin import Entity
from knowledge_plugin.building.readers import columns, read_columns, read_entities
from knowledge_plugin.errors import ReaderError
from knowledge_plugin.knowledge_base.columns import COLUMNS, to_columns

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from([" a ", "\xa0", "é", ""])


def entities_of(path, **options):
    records = [record for table in read_columns(path, **options) for record in table.to_pylist()]
    return [Entity(**r | {"aliases": r["aliases"] or (), "types": r["types"] or ()}) for r in records]


@pytest.mark.filterwarnings("ignore:.*cells of aliases")
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "label": st.none() | TEXT,
                "aliases": st.none() | st.lists(st.none() | TEXT, max_size=3),
                "description": st.none() | TEXT,
                "types": st.none() | st.lists(TEXT, max_size=2),
                "popularity": st.none() | st.floats(0, 1e9),
            }
        ),
        max_size=8,
    ),
    st.sampled_from([2, 100]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns_are_what_entity_by_entity_is(tmp_path, monkeypatch, rows, batch):
    monkeypatch.setattr(columns, "_BATCH", batch)
    rows = [{"id": f" x:{i}", **row} for i, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(COLUMNS)), tmp_path / "a.parquet", row_group_size=3)
    expected = list(read_entities(tmp_path / "a.parquet"))
    found = entities_of(tmp_path / "a.parquet")
    assert [e.names for e in found] == [e.names for e in expected]
    for name in ("id", "label", "description", "popularity"):
        assert [getattr(e, name) for e in found] == [getattr(e, name) for e in expected]


@pytest.mark.filterwarnings("ignore:.*columns that are not used")
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "other.parquet", "small.parquet"])
def test_other_files_are_read_entity_by_entity(tmp_path, name):
    (tmp_path / "a.csv").write_text("id,label,aliases\nx:1,Ada,A|B\nx:2,Bob,\n")
    (tmp_path / "a.jsonl").write_text(
        '{"id": "x:1", "label": "Ada", "aliases": ["A", "B"]}\n{"id":"x:2","label":"Bob"}\n'
    )
    pq.write_table(
        pa.table({"ID": ["x:1", "x:2"], "Label": ["Ada", "Bob"], "aliases": ["A|B", ""]}), tmp_path / "other.parquet"
    )
    pq.write_table(
        pa.table({"id": ["x:1", "x:2"], "label": ["Ada", "Bob"], "aliases": [["A", "B"], []], "more": [1, 2]}),
        tmp_path / "small.parquet",
    )
    assert entities_of(tmp_path / name) == [Entity("x:1", "Ada", aliases=["A", "B"]), Entity("x:2", "Bob")]


def test_options_go_to_the_reader(tmp_path):
    pq.write_table(to_columns([Entity("1", "Ada")]), tmp_path / "a.parquet")
    assert [e.id for e in entities_of(tmp_path / "a.parquet", id_prefix="x:")] == ["x:1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ["x:1", None]}, r"rows from 1 .*row 1: id: expected a text, found None"),
        ({"id": ["x:1", " "]}, r"row 1: id: expected a text, not blank"),
        ({"label": ["A", "b" * 10_001]}, "label: expected at most 10,000 characters"),
        ({"aliases": [["c" * 10_001], []]}, "aliases: expected at most 10,000 characters"),
        ({"popularity": [1.0, -2.0]}, "row 1: popularity: expected a number from 0 up"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(tmp_path, change, message):
    table = {"id": ["x:1", "x:2"], "label": ["A", "B"], "aliases": [[], []], "popularity": [0.0, 0.0]} | change
    pq.write_table(pa.table({n: pa.array(v, COLUMNS[n]) for n, v in table.items()}), tmp_path / "a.parquet")
    with pytest.raises(ReaderError, match=message):
        list(read_columns(tmp_path / "a.parquet"))


def test_text_that_repeats_itself_into_gigabytes(tmp_path):
    table = pa.table({"id": [f"x:{i}" for i in range(8_000)], "label": ["y" * 90_000] * 8_000})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd")
    with pytest.raises(ReaderError, match="label: expected short texts"):
        list(read_columns(tmp_path / "a.parquet"))
