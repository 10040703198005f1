"""Whole Parquet files, with sums that the config declares, and contents that make no knowledge base."""

from __future__ import annotations

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knowledge_plugin import DictionaryLinker, KnowledgeBase
from knowledge_plugin.errors import ArtifactError, KnowledgePluginError
from tests.attacks.hostile import edit_config, redeclare, save_kb, use

ENTITIES, ALIASES = "entities.parquet", "aliases.parquet"


@pytest.fixture
def folder(tmp_path):
    return save_kb(tmp_path)


def put(folder, name, column, values, kind=None):
    """Put other values into a column of a table, and declare them."""
    table = pq.read_table(folder / name)
    place = table.schema.get_field_index(column)
    array = pa.array(values, kind or (table.schema.field(place).type if place >= 0 else None))
    table = table.set_column(place, column, array) if place >= 0 else table.append_column(column, array)
    pq.write_table(table, folder / name)
    redeclare(folder, name)


@pytest.mark.parametrize(
    "rows", [[0, 1, 2, 3, 4, 4, 5], [-1] * 7, [0] * 6 + [2**31], [2**62] * 7, [-(2**63)] * 7, [0] * 6 + [2**32]]
)
def test_alias_rows_that_are_not_there(folder, rows):
    put(folder, ALIASES, "row", rows)
    for _ in range(2):  # also when it comes from the cache
        with pytest.raises(ArtifactError, match="rows that are not there"):
            KnowledgeBase.from_pretrained(folder).alias_lookup("insensitive")
        with pytest.raises(ArtifactError, match="rows that are not there"):
            DictionaryLinker(KnowledgeBase.from_pretrained(folder), case="sensitive")(["Paris"])
        with pytest.raises(ArtifactError):
            KnowledgeBase.from_pretrained(folder).verify()


def test_an_id_twice(folder):
    put(folder, ENTITIES, "id", ["geo:1", "geo:2", "geo:1", "geo:3", "geo:4"])
    for ask in (lambda kb: kb.rows(["geo:1"]), lambda kb: "geo:1" in kb, lambda kb: kb.verify()):
        with pytest.raises(ArtifactError, match="'geo:1' occurs more than once"):
            ask(KnowledgeBase.from_pretrained(folder))


def test_ids_with_nul(folder):
    put(folder, ENTITIES, "id", ["a", "a\0", "a\0b", "b", "c"])
    with pytest.raises(ArtifactError, match="NUL"):
        KnowledgeBase.from_pretrained(folder).rows(["a"])


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [
        (ENTITIES, "id", [None, "b", "c", "d", "e"]),
        (ENTITIES, "label", ["a", None, "c", "d", "e"]),
        (ALIASES, "alias", ["a", None, "c", "d", "e", "f", "g"]),
        (ALIASES, "row", [0, 1, None, 2, 3, 4, 4]),
        (ALIASES, "prior", [0.5, None, 0.5, 0.5, 0.5, 0.5, 0.5]),
    ],
)
def test_rows_without_a_value(folder, name, column, values):
    put(folder, name, column, values)
    with pytest.raises(ArtifactError, match=f"column '{column}'"):
        use(folder)


@pytest.mark.parametrize(
    ("name", "column", "values", "kind"),
    [
        (ENTITIES, "id", [1, 2, 3, 4, 5], pa.int64()),
        (ENTITIES, "id", [b"\xff"] * 5, pa.binary()),
        (ENTITIES, "id", ["a", "b", "c", "d", "e"], pa.large_string()),
        (ENTITIES, "label", [["a"]] * 5, pa.list_(pa.string())),
        (ENTITIES, "description", [1.0] * 5, pa.float64()),
        (ENTITIES, "types", ["city"] * 5, pa.string()),
        (ENTITIES, "popularity", [1] * 5, pa.int64()),
        (ALIASES, "alias", [1] * 7, pa.int64()),
        (ALIASES, "row", [0] * 7, pa.int32()),
        (ALIASES, "row", [0.5] * 7, pa.float64()),
        (ALIASES, "row", ["0"] * 7, pa.string()),
        (ALIASES, "prior", [1.0] * 7, pa.float64()),
        (ALIASES, "prior", ["1"] * 7, pa.string()),
    ],
)
def test_columns_of_another_type(folder, name, column, values, kind):
    put(folder, name, column, values, kind)
    with pytest.raises(ArtifactError, match=f"column '{column}': expected"):
        KnowledgeBase.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "column"), [(ENTITIES, "id"), (ENTITIES, "label"), (ALIASES, "alias"), (ALIASES, "row")]
)
def test_columns_that_are_missing(folder, name, column):
    pq.write_table(pq.read_table(folder / name).drop_columns([column]), folder / name)
    redeclare(folder, name)
    with pytest.raises(ArtifactError, match=f"column '{column}': .* no such column"):
        KnowledgeBase.from_pretrained(folder)


@pytest.mark.parametrize("column", ["id", "description"])
def test_a_column_twice(folder, column):
    table = pq.read_table(folder / ENTITIES)
    pq.write_table(table.append_column(column, pa.array(["x"] * 5)), folder / ENTITIES)
    redeclare(folder, ENTITIES)
    with pytest.raises(ArtifactError, match=f"column '{column}'"):
        KnowledgeBase.from_pretrained(folder)


@pytest.mark.parametrize("name", [ENTITIES, ALIASES])
@pytest.mark.parametrize("rows", [0, 4])
def test_fewer_rows_than_declared(folder, name, rows):
    pq.write_table(pq.read_table(folder / name).slice(0, rows), folder / name)
    redeclare(folder, name)
    with pytest.raises(ArtifactError, match="declares 5 entities and 7 names"):
        KnowledgeBase.from_pretrained(folder)


def test_tables_of_another_knowledge_base(folder, tmp_path):
    edit_config(folder, rows=6)
    with pytest.raises(ArtifactError, match="declares 6 entities"):
        KnowledgeBase.from_pretrained(folder)


@pytest.mark.parametrize("values", [[float("nan")] * 7, [float("inf")] * 7, [-1.0] * 7, [1e30] * 7])
def test_priors_that_are_none(folder, values):
    put(folder, ALIASES, "prior", values)
    with pytest.raises(ArtifactError, match="prior"):
        DictionaryLinker(KnowledgeBase.from_pretrained(folder))(["in Paris"])


@pytest.mark.parametrize("popularity", [float("nan"), -1.0, float("inf")])
def test_popularities_that_are_none(folder, popularity):
    put(folder, ENTITIES, "popularity", [popularity] * 5)
    with pytest.raises(KnowledgePluginError, match="popularity"):
        use(folder)


@pytest.mark.parametrize("ids", [["", "b", "c", "d", "e"], [" ", "b", "c", "d", "e"]])
def test_ids_that_are_blank(folder, ids):
    put(folder, ENTITIES, "id", ids)
    with pytest.raises(KnowledgePluginError, match="blank"):
        use(folder)


def test_text_that_is_no_utf8(folder):
    bad = pa.array([b"geo:\xff", b"b", b"c", b"d", b"e"], pa.binary()).view(pa.string())
    table = pq.read_table(folder / ENTITIES)
    pq.write_table(table.set_column(0, "id", bad), folder / ENTITIES)
    redeclare(folder, ENTITIES)
    with pytest.raises(ArtifactError):
        use(folder)


def test_aliases_in_any_order_are_found_alike(folder):
    table = pq.read_table(folder / ALIASES)
    pq.write_table(table.take(list(range(6, -1, -1))), folder / ALIASES, row_group_size=2)
    redeclare(folder, ALIASES)
    kb = KnowledgeBase.from_pretrained(folder)
    assert kb["geo:paris"].aliases == ("City of Light",)
    assert kb.entity_id(kb.alias_lookup("insensitive").best("paris")[0]) == "geo:paris"


def put_repeated(folder, name, column, value, rows):
    """Write a text that is stored once and stands in every row."""
    table = pq.read_table(folder / name)
    table = table.take([0] * rows)
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))
    table = table.set_column(table.schema.get_field_index(column), column, texts)
    pq.write_table(table, folder / name, compression="zstd", store_schema=False)
    redeclare(folder, name)
    assert (folder / name).stat().st_size < 50_000


BOMBS = {
    "a name of a megabyte in many rows": (ALIASES, "alias", "x" * 2**20, 100_000),
    "very many names": (ALIASES, "alias", "x", 3_000_000),
    "a description of a quarter of a gigabyte": (ENTITIES, "description", "x" * (2**28 + 1), 5),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_few_bytes_that_would_fill_the_memory(folder, bomb):
    name, column, value, rows = BOMBS[bomb]
    put_repeated(folder, name, column, value, rows)
    edit_config(folder, **{"aliases" if name == ALIASES else "rows": rows})
    taken = psutil.Process().memory_info().rss
    reads = (use, lambda folder: KnowledgeBase.from_pretrained(folder).verify(), count_names)
    for read in reads:
        with pytest.raises(ArtifactError, match="way to fill memory"):
            read(folder)
    assert pa.default_memory_pool().bytes_allocated() < 2**28
    assert psutil.Process().memory_info().rss - taken < 2**29


def count_names(folder):
    return len(list(KnowledgeBase.from_pretrained(folder).names()))


def test_a_text_that_many_entities_share_is_no_bomb(folder):
    put_repeated(folder, ALIASES, "alias", "the same name for all of them", 10_000)
    edit_config(folder, aliases=10_000)
    assert count_names(folder) == 10_000


def test_a_very_long_name_is_no_trouble(folder):
    put(folder, ALIASES, "alias", ["a" * 5_000_000, *"bcdefg"])
    kb = KnowledgeBase.from_pretrained(folder)
    assert DictionaryLinker(kb, min_length=1, stop_words=[])(["a b " * 100])[0]
