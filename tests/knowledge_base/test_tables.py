from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin import Entity
from knowledge_plugin.errors import ArtifactError, KnowledgePluginError
from knowledge_plugin.knowledge_base import tables
from knowledge_plugin.knowledge_base.columns import to_columns
from knowledge_plugin.knowledge_base.tables import ALIASES_NAME, ENTITIES_NAME, Tables, alias_table, entity_table

ENTITIES = [
    Entity(
        "x:1", "Paris", aliases=["City of Light"], description="A city.", types=["city", "capital"], popularity=98.0
    ),
    Entity("x:2", "paris", popularity=0.0),
    Entity("x:3", "", aliases=["only an alias"]),
    Entity("x:4", "Zürich 東京 🗼", aliases=["a\nb", "tab\t", "nul\0nul"], description=""),
]


@pytest.fixture(params=["memory", "folder", "folder, tiny row groups"])
def opened(request, tmp_path, monkeypatch):
    def open_tables(entities):
        in_memory = Tables(entity_table(to_columns(entities)), alias_table(to_columns(entities)))
        if request.param == "memory":
            return in_memory
        if "tiny" in request.param:
            monkeypatch.setattr(tables, "_ROW_GROUP", 2)
        in_memory.save(tmp_path)
        return Tables(tmp_path / ENTITIES_NAME, tmp_path / ALIASES_NAME)

    return open_tables


def test_every_field_comes_back(opened):
    found = opened(ENTITIES)
    assert found.counts == (4, 8)
    assert [found.entity(row) for row in range(4)] == ENTITIES
    assert list(found.entities()) == ENTITIES


def test_ids_labels_and_names(opened):
    found = opened(ENTITIES)
    assert found.id_column().to_pylist() == [e.id for e in ENTITIES]
    assert list(found.labels()) == [e.label for e in ENTITIES]
    assert [(name, row) for name, row, _ in found.names()] == [(n, i) for i, e in enumerate(ENTITIES) for n in e.names]


def test_the_prior_is_the_share_of_popularity(opened):
    priors = {(name, row): prior for name, row, prior in opened(ENTITIES).names()}
    assert priors["Paris", 0] == pytest.approx(0.99)
    assert priors["paris", 1] == pytest.approx(0.01)
    assert priors["City of Light", 0] == 1


def test_columns_that_nobody_filled_are_left_out(opened):
    assert entity_table(to_columns([Entity("x:1", "A")])).column_names == ["id", "label"]
    assert opened([Entity("x:1", "A")]).entity(0) == Entity("x:1", "A")


def test_the_types_of_one_entity(opened):
    found = opened(ENTITIES)
    assert [found.types(row) for row in range(4)] == [("city", "capital"), (), (), ()]


def test_there_are_no_types_at_all(opened):
    assert opened([Entity("x:1", "A")]).types(0) is None


def test_no_aliases_at_all(opened):
    found = opened([Entity("x:1", "")])
    assert found.counts == (1, 0)
    assert list(found.names()) == []
    assert found.entity(0) == Entity("x:1", "")


def test_more_entities_than_a_row_group(opened):
    entities = [Entity(f"x:{i}", f"name {i}", aliases=[f"alias {i}"]) for i in range(50)]
    found = opened(entities)
    assert [found.entity(row) for row in (0, 49, 7, 25)] == [entities[row] for row in (0, 49, 7, 25)]
    assert list(found.entities()) == entities


def test_saving_what_was_opened_changes_nothing(opened, tmp_path):
    (tmp_path / "again").mkdir()
    opened(ENTITIES).save(tmp_path / "again")
    assert list(Tables(tmp_path / "again" / ENTITIES_NAME, tmp_path / "again" / ALIASES_NAME).entities()) == ENTITIES


def test_other_columns_are_no_trouble(tmp_path):
    Tables(entity_table(to_columns(ENTITIES)), alias_table(to_columns(ENTITIES))).save(tmp_path)
    # A nested column counts as several in the file's statistics, and stands before the one that is searched.
    nested = pa.array([{"a": 1, "b": "x", "c": [1, 2]}] * 8)
    aliases = pq.read_table(tmp_path / ALIASES_NAME)
    pq.write_table(aliases.add_column(0, "source", nested), tmp_path / ALIASES_NAME, row_group_size=2)
    found = Tables(tmp_path / ENTITIES_NAME, tmp_path / ALIASES_NAME)
    assert [found.entity(row) for row in range(4)] == ENTITIES


def test_files_without_statistics_are_read(tmp_path):
    pq.write_table(entity_table(to_columns(ENTITIES)), tmp_path / ENTITIES_NAME, write_statistics=False)
    pq.write_table(alias_table(to_columns(ENTITIES)), tmp_path / ALIASES_NAME, write_statistics=False, row_group_size=2)
    assert Tables(tmp_path / ENTITIES_NAME, tmp_path / ALIASES_NAME).entity(3) == ENTITIES[3]


@pytest.mark.parametrize("column", ["id", "label"])
def test_a_missing_column(tmp_path, column):
    Tables(entity_table(to_columns(ENTITIES)), alias_table(to_columns(ENTITIES))).save(tmp_path)
    pq.write_table(entity_table(to_columns(ENTITIES)).drop_columns([column]), tmp_path / ENTITIES_NAME)
    with pytest.raises(ArtifactError, match=f"column '{column}': expected string, found no such column"):
        Tables(tmp_path / ENTITIES_NAME, tmp_path / ALIASES_NAME)


def test_a_column_of_another_type(tmp_path):
    Tables(entity_table(to_columns(ENTITIES)), alias_table(to_columns(ENTITIES))).save(tmp_path)
    ids = pa.table({"id": [1, 2, 3, 4], "label": ["a", "b", "c", "d"]})
    pq.write_table(ids, tmp_path / ENTITIES_NAME)
    with pytest.raises(ArtifactError, match="column 'id': expected string, found int64"):
        Tables(tmp_path / ENTITIES_NAME, tmp_path / ALIASES_NAME)


@pytest.mark.parametrize("row", [-1, 4, 2**40])
@pytest.mark.parametrize(
    "read",
    [
        lambda tables: list(tables.names()),
        lambda tables: list(tables.entities()),
        lambda tables: tables.alias_table(),
        lambda tables: [tables.entity(row) for row in range(4)],
    ],
)
def test_names_that_lead_to_no_entity(tmp_path, read, row):
    Tables(entity_table(to_columns(ENTITIES)), alias_table(to_columns(ENTITIES))).save(tmp_path)
    names = pq.read_table(tmp_path / ALIASES_NAME)
    rows = pa.array([0, 0, 1, row, 2, 3, 3, 3], pa.int64())
    pq.write_table(names.set_column(1, "row", rows), tmp_path / ALIASES_NAME)
    with pytest.raises(ArtifactError, match="rows that are not there"):
        read(Tables(tmp_path / ENTITIES_NAME, tmp_path / ALIASES_NAME))


@pytest.mark.parametrize("name", [ENTITIES_NAME, ALIASES_NAME])
def test_a_byte_altered_anywhere_is_refused_or_both_ways_of_reading_agree(tmp_path, name):
    Tables(entity_table(to_columns(ENTITIES)), alias_table(to_columns(ENTITIES))).save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        data = bytearray(whole)
        data[place] ^= 0xFF
        (tmp_path / name).write_bytes(data)
        try:
            found = Tables(tmp_path / ENTITIES_NAME, tmp_path / ALIASES_NAME)
            if found.counts != (4, 8):
                continue
            names, entities, table = list(found.names()), list(found.entities()), found.alias_table()
        except KnowledgePluginError:
            refused += 1
            continue
        assert len(entities) == len(found.id_column().to_pylist()) == len(list(found.labels())) == 4, place
        assert len(names) == table.num_rows == 8, place
        # What one way of reading refuses, such as statistics that lie, the other may not see.
        with suppress(KnowledgePluginError):
            assert [found.entity(row).label for row in range(4)] == [entity.label for entity in entities], place
    assert refused > len(whole) / 4


NAMES = st.text(max_size=12)


@given(
    st.lists(
        st.builds(
            lambda label, aliases: (label, tuple(dict.fromkeys(a for a in aliases if a.strip() and a != label))),
            NAMES,
            st.lists(NAMES, max_size=3),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_unicode_comes_back(names):
    entities = [Entity(f"x:{i}", label, aliases) for i, (label, aliases) in enumerate(names)]
    found = Tables(entity_table(to_columns(entities)), alias_table(to_columns(entities)))
    assert list(found.entities()) == entities
    assert [found.entity(row) for row in range(len(entities))] == entities


def test_reading_does_not_import_pandas(tmp_path):
    """Arrow does so by itself where it makes arrays of numpy: a third of a second, and tens of megabytes."""
    Tables(entity_table(to_columns(ENTITIES)), alias_table(to_columns(ENTITIES))).save(tmp_path)
    read = (
        "import sys; from pathlib import Path; from knowledge_plugin.knowledge_base.tables import Tables\n"
        f"tables = Tables(*(Path({str(tmp_path)!r}, name) for name in ({ENTITIES_NAME!r}, {ALIASES_NAME!r})))\n"
        "before = set(sys.modules)\n"
        "print(len(list(tables.names())), len(list(tables.entities())), tables.alias_table().num_rows)\n"
        "assert 'pandas' not in set(sys.modules) - before"
    )
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["8", "4", "8"]
