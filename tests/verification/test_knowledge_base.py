from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from knowledge_plugin import Entity, KnowledgeBase
from knowledge_plugin.verification import knowledge_base
from knowledge_plugin.verification.findings import Findings
from knowledge_plugin.verification.knowledge_base import check_knowledge_base
from tests.attacks import hostile


@pytest.fixture
def folder(tmp_path):
    return hostile.save_kb(tmp_path)


def check(folder):
    findings = Findings(folder)
    check_knowledge_base(folder, findings)
    return [(finding.severity, finding.where, finding.message) for finding in findings.found]


def change(folder, name, **columns):
    """Overwrite columns of a table, and declare the file as it is then."""
    table = pq.read_table(folder / name)
    for column, values in columns.items():
        kind = table.schema.field(column).type
        table = table.set_column(table.schema.get_field_index(column), column, pa.array(values, kind))
    pq.write_table(table, folder / name)
    hostile.redeclare(folder, name)


def change_vectors(folder, edit):
    vectors = load_file(folder / hostile.SHARD)["embeddings"].copy()
    save_file({"embeddings": edit(vectors)}, folder / hostile.SHARD)
    hostile.redeclare(folder, hostile.SHARD)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_a_whole_one(tmp_path, dtype):
    KnowledgeBase.from_entities(
        [Entity("x:1", "Ada"), Entity("x:2", "Bob")], np.eye(2), name="t", license="mit", dtype=dtype
    ).save_pretrained(tmp_path)
    assert check(tmp_path) == []


def test_everything_at_once(folder):
    change(folder, "entities.parquet", id=["geo:a", "geo:b", "geo:a", "", "geo:a"])
    change(folder, "aliases.parquet", row=[-1, 1, 2, 3, 4, 5, 2**40], prior=[0.5, 1, -1, 2, float("nan"), 0, 1])
    change_vectors(folder, lambda vectors: np.where(np.arange(5)[:, None] % 2, np.nan, vectors).astype(np.float32))
    hostile.edit_config(folder, license=None)
    found = check(folder)
    assert [(severity, where) for severity, where, _ in found] == [
        ("error", hostile.SHARD),
        ("warning", "config.json"),
        ("error", "entities.parquet"),
        ("error", "entities.parquet"),
        ("error", "aliases.parquet"),
        ("error", "aliases.parquet"),
        ("warning", "aliases.parquet"),
    ]
    messages = [message for *_, message in found]
    assert messages[0] == "2 vectors hold NaN or infinite values: row 1 of this shard, row 3 of this shard."
    assert "licence" in messages[1]
    assert messages[2] == "1 ids are empty: that of row 3."
    assert messages[3] == "1 ids occur more than once: 'geo:a' 3 times."
    assert messages[4].startswith("3 names lead to rows that are not there (the last one is 4): ")
    assert messages[5].startswith("3 priors are no shares from 0 to 1: -1.0 of ")
    assert messages[6] == "1 of 5 entities have no name: no text can lead to them."


def test_more_than_a_few_are_counted(tmp_path):
    entities = [Entity(f"x:{i}", f"name {i}") for i in range(20_000)]
    kb = KnowledgeBase.from_entities(entities, np.ones((20_000, 2)), name="t", license="mit")
    kb.save_pretrained(tmp_path)
    change(tmp_path, "entities.parquet", id=["x:0", *(f"x:{i // 2}" for i in range(19_999))])
    (found,) = check(tmp_path)
    assert found[2].startswith("9999 ids occur more than once: 'x:0' 3 times, 'x:1' 2 times, ")
    assert found[2].endswith(", ...")


def test_a_nul_in_an_id(folder):
    change(folder, "entities.parquet", id=["geo:a", "geo:b\0c", "geo:d", "geo:e", "geo:f"])
    assert check(folder) == [("error", "entities.parquet", "1 ids hold a NUL character: 'geo:b\\x00c'.")]


def test_names_that_are_empty(folder):
    change(folder, "aliases.parquet", alias=["a", " ", "b", "c", "d", "e", ""])
    ((severity, where, message),) = check(folder)
    assert (severity, where) == ("warning", "aliases.parquet")
    assert message.startswith("2 names are empty: ")


def test_absent_values(folder):
    change(folder, "entities.parquet", id=["geo:a", None, "geo:c", "geo:d", "geo:e"])
    change(folder, "aliases.parquet", row=[0, 1, 2, 3, 4, None, 0], prior=[None, 1, 1, 1, 1, 1, 1])
    messages = [message for *_, message in check(folder)]
    assert messages[0] == "1 ids are empty: that of row 1."
    assert messages[1].startswith("1 names lead to rows that are not there (the last one is 4): ")
    assert messages[2].startswith("1 priors are no shares from 0 to 1: nan of ")


def test_counts(folder):
    hostile.edit_config(folder, rows=4, aliases=8)
    assert [where for _, where, _ in check(folder)] == ["config.json", "entities.parquet", "aliases.parquet"]


def test_the_shapes_of_vectors(folder):
    change_vectors(folder, lambda vectors: vectors[:, :4].copy())
    ((severity, where, message),) = check(folder)
    assert (severity, where) == ("error", hostile.SHARD)
    assert "4 wide, but the config declares 8" in message


def test_each_shard_is_looked_at(folder):
    vectors = load_file(folder / hostile.SHARD)["embeddings"]
    names = [f"embeddings-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    (folder / hostile.SHARD).unlink()
    save_file({"embeddings": np.full((2, 8), np.inf, np.float32)}, folder / names[0])
    save_file({"embeddings": vectors[:2].astype(np.float16)}, folder / names[1])
    (folder / names[2]).write_bytes(b"\x80\x04no safetensors")
    data = hostile.read_json(folder)["files"]
    hostile.edit_config(folder, files={name: file for name, file in data.items() if name != hostile.SHARD})
    hostile.redeclare(folder, *names)
    found = check(folder)
    assert [where for _, where, _ in found] == names
    assert found[0][2].startswith("2 vectors hold NaN")
    assert "float16" in found[1][2]
    assert "no whole safetensors" in found[2][2]


@pytest.mark.parametrize("name", ["entities.parquet", "aliases.parquet"])
def test_a_table_that_is_broken_hides_nothing_else(folder, name):
    other = {"entities.parquet": "aliases.parquet", "aliases.parquet": "entities.parquet"}[name]
    (folder / name).write_bytes(b"PAR1 but no more")
    hostile.redeclare(folder, name)
    (folder / other).unlink()
    found = check(folder)
    assert {where for _, where, _ in found} == {name, other}
    assert any("no whole Parquet file" in message for *_, message in found)


def test_columns(folder):
    table = pq.read_table(folder / "entities.parquet").drop_columns("label")
    pq.write_table(table, folder / "entities.parquet")
    hostile.redeclare(folder, "entities.parquet")
    ((_, where, message),) = check(folder)
    assert where == "entities.parquet"
    assert "'label'" in message


def test_a_config_that_is_broken_does_not_hide_the_tables(folder):
    change(folder, "entities.parquet", id=["geo:a"] * 5)
    hostile.edit_config(folder, dim=0)
    assert [where for _, where, _ in check(folder)] == ["config.json", "entities.parquet"]


def test_a_part_that_would_not_fit_into_memory(folder, monkeypatch):
    monkeypatch.setattr(knowledge_base, "_MAX_GROUP_BYTES", 10)
    found = check(folder)
    assert [where for _, where, _ in found] == ["entities.parquet", "aliases.parquet"]
    assert "at most 10 are read" in found[0][2]


@pytest.mark.parametrize("column", ["id", "label", "types"])
def test_a_long_text_that_a_small_file_repeats(folder, column):
    once, rows = "x" * 10**6, 5_000  # 5 GB of text
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([once]))
    short = pa.array([f"geo:{i}" for i in range(rows)])
    columns = {"id": short, "label": short, column: texts}
    if column == "types":
        columns["types"] = pa.ListArray.from_arrays(pa.array(range(rows + 1), pa.int32()), texts)
    pq.write_table(pa.table(columns), folder / "entities.parquet", store_schema=False, compression="zstd")
    assert (folder / "entities.parquet").stat().st_size < 100_000
    hostile.redeclare(folder, "entities.parquet")
    hostile.edit_config(folder, rows=rows)
    (message,) = [message for _, where, message in check(folder) if where == "entities.parquet"]
    assert re.search(r"\b50000\d{5} bytes would have to be in memory at once; at most 268435456 are read", message)


def test_names_may_be_missing_where_mentions_come_from_elsewhere(tmp_path):
    entities = [Entity("x:1", ""), Entity("x:2", "Ada")]
    kb = KnowledgeBase.from_entities(entities, np.eye(2), name="t", license="mit", linker="external")
    kb.save_pretrained(tmp_path)
    assert check(tmp_path) == []
