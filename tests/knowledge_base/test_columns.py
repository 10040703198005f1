from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin import Entity, KnowledgeBase
from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.knowledge_base.columns import checked_columns, popularity_order, to_columns
from knowledge_plugin.knowledge_base.normalization import normalize, normalize_column, strip_column
from knowledge_plugin.knowledge_base.tables import Tables, alias_table, entity_table, renewed_alias_table

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAME = st.sampled_from(["Paris", "PARIS", "paris", "Cafe\u0301", "café", "İ", "ΟΔΟΣ", " ", "", "\x1c", "Rome", "\xa0"])
FIELDS = {
    "label": NAME | TEXT,
    "aliases": st.lists(NAME | TEXT, max_size=3).map(tuple),
    "description": st.none() | TEXT,
    "types": st.lists(TEXT, max_size=2).map(tuple),
    "popularity": st.none() | st.sampled_from([0.0, 0.1, 3.0, 1e9]),
}


@st.composite
def many_entities(draw):
    return [
        Entity(f"x:{i}", **{name: draw(some) for name, some in FIELDS.items()}) for i in range(draw(st.integers(0, 6)))
    ]


def names_one_by_one(entities):
    """The rule of the alias table, said entity by entity."""
    bearers = defaultdict(dict)
    for row, entity in enumerate(entities):
        for name in entity.names:
            bearers[normalize(name, "insensitive")][row] = 1 + (entity.popularity or 0)
    for row, entity in enumerate(entities):
        for name in entity.names:
            weights = bearers[normalize(name, "insensitive")]
            yield name, row, float(np.float32(weights[row] / sum(weights.values())))


def rows_of(table):
    return list(zip(*(table[name].to_pylist() for name in ("alias", "row", "prior")), strict=True))


@given(st.lists(st.lists(NAME | TEXT, max_size=4), max_size=3))
def test_texts_become_what_python_makes_of_them(chunks):
    texts = pa.chunked_array(chunks, pa.string())
    flat = [text for chunk in chunks for text in chunk]
    assert normalize_column(texts, "insensitive").to_pylist() == [normalize(t, "insensitive") for t in flat]
    assert normalize_column(texts, "sensitive").to_pylist() == [normalize(t, "sensitive") for t in flat]
    assert strip_column(texts).to_pylist() == [t.strip() for t in flat]


def test_every_ascii_character_is_stripped_as_python_does():
    texts = [chr(i) + "a" + chr(i) for i in range(128)]
    assert strip_column(pa.chunked_array([texts])).to_pylist() == [text.strip() for text in texts]


@given(many_entities())
def test_names_and_priors(entities):
    assert rows_of(alias_table(to_columns(entities))) == list(names_one_by_one(entities))


@given(many_entities())
def test_columns_come_back_from_the_tables(entities):
    columns = to_columns(entities)
    tables = Tables(entity_table(columns), alias_table(columns))
    again = tables.columns()
    assert [e.names for e in _entities(again)] == [e.names for e in entities]
    for name in ("id", "label", "description", "popularity"):
        assert again[name].to_pylist() == columns[name].to_pylist()
    assert list(tables.entities()) == list(_entities(again))


def _entities(columns):
    for record in columns.to_pylist():
        yield Entity(**record | {"aliases": record["aliases"] or (), "types": record["types"] or ()})


@given(many_entities(), many_entities(), st.randoms(use_true_random=False))
def test_priors_that_have_nothing_to_do_with_a_change_stay(old, new, rng):
    """Against the same rule, said name by name."""
    size = max(len(old), len(new))
    old, new = [[*some, *(Entity(f"y:{i}", "Rest") for i in range(len(some), size))] for some in (old, new)]
    changed = np.array([rng.random() < 0.5 for _ in range(size)], bool)
    now = [new[i] if changed[i] else old[i] for i in range(size)]
    before = [item for item in rows_of(alias_table(to_columns(old))) if rng.random() < 0.8]
    before = [(name, row, 0.25) for name, row, _ in before]
    after = list(names_one_by_one(now))
    touched = {normalize(name, "insensitive") for name, row, _ in (*before, *after) if changed[row]}
    listed = {(name, row) for name, row, _ in before}
    expected = [item for item in before if normalize(item[0], "insensitive") not in touched]
    expected += [
        item
        for item in after
        if normalize(item[0], "insensitive") in touched and (changed[item[1]] or item[:2] in listed)
    ]
    columns = zip(*before, strict=True) if before else [[], [], []]
    kinds = (pa.string(), pa.int64(), pa.float32())
    table = pa.table([pa.array(c, k) for c, k in zip(columns, kinds, strict=True)], ["alias", "row", "prior"])
    found = rows_of(renewed_alias_table(table, to_columns(now), changed))
    assert found == sorted(expected, key=lambda item: item[1])


@given(many_entities())
def test_a_table_and_its_entities_make_the_same(entities):
    entities = [Entity("z", "Named"), *entities]
    vectors = torch.randn(len(entities), 3, generator=torch.Generator().manual_seed(0))
    one = KnowledgeBase.from_entities(entities, vectors, name="t", linker="external")
    table = pa.Table.from_pylist(
        [{name: getattr(e, name) for name in ("id", *FIELDS)} for e in entities], to_columns(entities).schema
    )
    other = KnowledgeBase.from_table(table, vectors, name="t", linker="external")
    assert list(one) == list(other)
    assert list(one.names()) == list(other.names())
    assert torch.equal(one.vectors(range(len(one))), other.vectors(range(len(other))))
    assert one.config == other.config


def test_a_table_and_a_file_of_vectors(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, 4)).astype("float32")
    np.save(tmp_path / "v.npy", vectors)
    table = pa.table({"id": [f"x:{i}" for i in range(50)], "label": [f"name {i}" for i in range(50)]})
    for popularity in (np.zeros(50), rng.random(50)):
        given_table = table.append_column("popularity", pa.array(popularity))
        kb = KnowledgeBase.from_table(given_table, tmp_path / "v.npy", name="t", version="1", license="mit")
        assert torch.equal(kb.vectors(kb.rows(table["id"].to_pylist())), torch.tensor(vectors))
        kb.save_pretrained(tmp_path / "kb")
        again = KnowledgeBase.from_pretrained(tmp_path / "kb")
        assert torch.equal(again.vectors(again.rows(table["id"].to_pylist())), torch.tensor(vectors))
        assert (again.config.version, again.config.license) == ("1", "mit")


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_other_kinds_of_text(kind):
    texts = {"id": pa.array(["x:1", "x:2"]).cast(kind), "label": pa.array(["A", "B"]).cast(kind)}
    lists = pa.array([["a"], None], pa.large_list(pa.large_string()))
    found = checked_columns(pa.table(texts | {"aliases": lists, "popularity": pa.array([3, None], pa.int16())}))
    assert found.to_pylist() == [
        {"id": "x:1", "label": "A", "aliases": ["a"], "description": None, "types": None, "popularity": 3.0},
        {"id": "x:2", "label": "B", "aliases": None, "description": None, "types": None, "popularity": None},
    ]


GOOD = {"id": ["x:1", "x:2"], "label": ["A", "B"]}
BAD_TABLES = {
    "no label": ({"id": ["x"]}, r"expected the columns id and label.*found \['id'\]"),
    "a misspelt column": (GOOD | {"alias": [["a"], []]}, "expected the columns"),
    "whole numbers as ids": (GOOD | {"id": [1, 2]}, "column 'id': expected string, found int64"),
    "aliases in one text": (GOOD | {"aliases": ["a|b", "c"]}, "column 'aliases': expected list"),
    "aliases of numbers": (GOOD | {"aliases": [[1], [2]]}, "column 'aliases': expected list"),
    "popularity in words": (GOOD | {"popularity": ["much", "little"]}, "column 'popularity': expected double"),
    "no id": (GOOD | {"id": ["x:1", None]}, "row 1: id: expected a text, found None"),
    "a blank id": (GOOD | {"id": ["x:1", " \xa0"]}, "row 1: id: expected a text, not blank"),
    "a NUL in an id": (GOOD | {"id": ["x\0y", "z"]}, r"row 0: id: expected .* no NUL"),
    "an id twice": (GOOD | {"id": ["x", "x"]}, "the id 'x' occurs more than once"),
    "no label in a row": (GOOD | {"label": [None, "B"]}, "row 0: label: expected a text, found None"),
    "an alias that is none": (GOOD | {"aliases": [["a"], [None]]}, "aliases: expected lists of texts"),
    "a negative popularity": (GOOD | {"popularity": [0.0, -1.0]}, "row 1: popularity: expected a number from 0 up"),
    "NaN as popularity": (GOOD | {"popularity": [float("nan"), 1.0]}, "row 0: popularity"),
    "infinite popularity": (GOOD | {"popularity": [1.0, float("inf")]}, "row 1: popularity"),
    "no rows": ({"id": pa.array([], pa.string()), "label": pa.array([], pa.string())}, "an empty knowledge base"),
    "no names": (GOOD | {"label": ["A", " "]}, "1 entities have no name, for example 'x:2'"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_tables_that_do_not_fit(case):
    columns, message = BAD_TABLES[case]
    table = pa.table(columns)
    with pytest.raises(KnowledgeBaseError, match=message):
        KnowledgeBase.from_table(table, torch.ones(table.num_rows, 2), name="t")


@pytest.mark.parametrize("given_instead", [GOOD, [Entity("x:1", "A")], None, "entities.parquet"])
def test_what_is_no_table(given_instead):
    with pytest.raises(KnowledgeBaseError, match=r"expected a pyarrow\.Table"):
        KnowledgeBase.from_table(given_instead, torch.ones(2, 2), name="t")


def test_a_column_twice():
    table = pa.table([["x"], ["A"], ["B"]], ["id", "label", "label"])
    with pytest.raises(KnowledgeBaseError, match="each once"):
        KnowledgeBase.from_table(table, torch.ones(1, 2), name="t")


def test_text_that_is_no_utf_8():
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff")]
    )
    with pytest.raises(KnowledgeBaseError, match="column 'label' is damaged"):
        KnowledgeBase.from_table(pa.table({"id": ["x"], "label": broken}), torch.ones(1, 2), name="t")


def test_the_order_of_popularity():
    def order(*popularity):
        return popularity_order(to_columns([Entity(f"x:{i}", "A", popularity=p) for i, p in enumerate(popularity)]))

    assert order(3, 2, 2, None) is None
    assert order(None, 2, 3, 2, 0).tolist() == [2, 1, 3, 0, 4]
