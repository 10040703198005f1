from __future__ import annotations

import json
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knowledge_plugin.building.readers import read_columns, read_dataset, read_entities
from tests.building.readers.files import write


def read(path, **options):
    """Read a table, and return its entities and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        entities = list(read_entities(path, **options))
    return entities, [str(warning.message) for warning in caught]


def as_kind(folder, kind, rows):
    """Write rows as a table of some kind."""
    if kind == "csv":
        lines = [",".join(rows[0]), *(",".join(f'"{cell}"' for cell in row.values()) for row in rows)]
        return write(folder, "t.csv", "\n".join(lines))
    if kind == "jsonl":
        return write(folder, "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "t.parquet")
    return folder / "t.parquet"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_that_are_not_used_are_named_with_what_was_meant(tmp_path, kind):
    path = as_kind(tmp_path, kind, [{"id": "1", "label": "a", "alias": "b", "desc": "c", "price": "5"}])
    (entity,), (message,) = read(path)
    assert entity.aliases == ()
    assert str(path) in message
    assert "'alias' (did you mean aliases?), 'desc' (did you mean description?), 'price'; fields" in message
    assert "not found: aliases, description, types, popularity" in message
    assert message.endswith("--column aliases=alias --column description=desc")
    assert "columns={'aliases': 'alias', 'description': 'desc'}" in message
    (entity,), (message,) = read(path, columns={"aliases": "alias", "description": "desc"})
    assert (entity.aliases, entity.description) == (("b",), "c")
    assert message.endswith("--column FIELD=COLUMN")


def test_of_columns_taken_over_by_columns_the_same_is_said(tmp_path):
    pq.write_table(pa.table({"id": ["1"], "label": ["a"], "alias": [["b"]]}), tmp_path / "t.parquet")
    with pytest.warns(UserWarning, match="did you mean aliases") as caught:
        list(read_columns(tmp_path / "t.parquet"))
    assert len(caught) == 1


@pytest.mark.parametrize(
    "header",
    [
        "id,label,aliases,description,types,popularity,price",  # nothing is missing
        "id,label",
        ",id,label",  # as pandas writes an index
    ],
)
def test_where_nothing_can_have_been_meant_nothing_is_said(tmp_path, header):
    cells = ",".join("1" for _ in header.split(","))
    assert read(write(tmp_path, "t.csv", f"{header}\n{cells}\n"))[1] == []


def test_of_objects_with_other_keys_each_it_is_said_once(tmp_path):
    lines = '{"id": "1", "label": "a", "desc": "x"}\n{"id": "2", "label": "b", "desc": "y", "aliases": ["c"]}\n'
    _, (message,) = read(write(tmp_path, "t.jsonl", lines))
    assert "not found: description, types, popularity" in message


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_cells_that_say_that_they_are_empty(tmp_path, kind):
    rows = [
        {"id": "1", "label": "NaN", "aliases": "x", "description": "real"},
        {"id": "2", "label": "b", "aliases": "NaN", "description": "nan"},
        {"id": "3", "label": "c", "aliases": "N/A", "description": "NA"},
        {"id": "4", "label": "d", "aliases": "NaN|", "description": "a nan bread"},
    ]
    entities, (message,) = read(as_kind(tmp_path, kind, rows))
    assert [entity.label for entity in entities] == ["NaN", "b", "c", "d"]
    assert [tuple(filter(None, entity.aliases)) for entity in entities] == [("x",), (), (), ("NaN",)]
    assert [entity.description for entity in entities] == ["real", None, None, "a nan bread"]
    place = "line 3" if kind == "csv" else "line 2" if kind == "jsonl" else "row 2"
    assert f"4 cells of aliases, descriptions or types say that they are empty (the first in {place}: 'nan')" in message


def test_aliases_that_are_words_are_kept_and_said_if_there_are_several(tmp_path):
    text = "id,label,aliases\n1,Namibia,NA\n2,b,\n"
    (namibia, _), said = read(write(tmp_path, "t.csv", text))
    assert (namibia.aliases, said) == (("NA",), [])
    entities, (message,) = read(write(tmp_path, "t.csv", text + "3,c,NA\n"))
    assert entities[2].aliases == ("NA",)
    assert "2 cells of aliases" in message
    assert "line 2: 'NA'" in message


def test_items_of_real_lists_are_names(tmp_path):
    (entity,), said = read(write(tmp_path, "t.jsonl", '{"id": "1", "label": "a", "aliases": ["nan", "N/A"]}\n'))
    assert (entity.aliases, said) == (("nan", "N/A"), [])


def test_descriptions_of_columns(tmp_path):
    table = {"id": ["1", "2", "3"], "label": ["a", "nan", "c"], "description": ["x", "nan", "NA"]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    with pytest.warns(UserWarning, match=r"2 cells .*the first in row 2: 'nan'"):
        (found,) = read_columns(tmp_path / "t.parquet")
    assert found["description"].to_pylist() == ["x", None, None]
    assert found["label"].to_pylist() == ["a", "nan", "c"]


def test_not_a_number_in_columns_is_none(tmp_path):
    table = {"id": ["1", "2"], "label": ["a", "b"], "popularity": [1.0, float("nan")]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    (found,) = read_columns(tmp_path / "t.parquet")
    assert found["popularity"].to_pylist() == [1.0, None]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_aliases_with_another_sign_between_them(tmp_path, kind):
    rows = [
        {"id": "1", "label": "aspirin", "aliases": "ASA, acetylsalicylic acid"},
        {"id": "2", "label": "ibuprofen", "aliases": "Advil, Nurofen"},
        {"id": "3", "label": "codeine", "aliases": "Codein"},
        {"id": "4", "label": "x", "aliases": ""},
    ]
    _, (message,) = read(as_kind(tmp_path, kind, rows))
    assert "no cell of aliases has '|' in it, and 2 of 3 have ','" in message
    assert "'ASA, acetylsalicylic acid'" in message
    assert "separator=','" in message
    entities, said = read(as_kind(tmp_path, kind, rows), separator=",")
    assert (entities[1].aliases, said) == (("Advil", "Nurofen"), [])


def test_aliases_with_several_signs_between_them(tmp_path):
    text = 'id,label,aliases\n1,aspirin,"ASA, acetylsalicylic acid"\n2,ibuprofen,Advil;Nurofen\n'
    _, (message,) = read(write(tmp_path, "t.csv", text))
    assert "2 of 2 have ',' or ';' (the first in line 2: 'ASA, acetylsalicylic acid')" in message


@pytest.mark.parametrize("cells", [["Paris, Texas"], ["Paris, Texas", "a", "b", "c", "d, e"], ["a, b", "c, d", "e|f"]])
def test_names_with_commas(tmp_path, cells):
    rows = "".join(f'{i},x,"{cell}"\n' for i, cell in enumerate(cells))
    assert read(write(tmp_path, "t.csv", f"id,label,aliases\n{rows}"))[1] == []


def test_a_data_set_is_looked_at_too():
    rows = [{"id": "1", "label": "a", "alias": "b; c"}, {"id": "2", "label": "b", "alias": float("nan")}]
    with pytest.warns(UserWarning, match="did you mean aliases"):
        list(read_dataset(rows))
    first, second = read_dataset(rows, columns={"aliases": "alias"})
    assert (first.aliases, second.aliases) == (("b; c",), ())
