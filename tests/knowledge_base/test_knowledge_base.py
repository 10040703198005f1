from __future__ import annotations

import copy
import itertools
import os
import pickle
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import (
    ArtifactError,
    ConfigError,
    KnowledgeBaseError,
    KnowledgePluginError,
    SaveError,
    UnknownEntityError,
)
from knowledge_plugin.hub.folder import check_sums
from knowledge_plugin.knowledge_base import embedding_index
from knowledge_plugin.knowledge_base.assembly import assemble
from knowledge_plugin.knowledge_base.columns import to_columns
from knowledge_plugin.knowledge_base.lookup import AliasLookup, IdLookup
from tests import tiny

DTYPES = ("float32", "float16", "bfloat16", "int8")
BY_POPULARITY = ["geo:new-york", "geo:berlin", "geo:paris", "geo:york", "geo:paris-texas"]


def entities(n, **fields):
    return [Entity(f"x:{i}", f"name {i}", **fields) for i in range(n)]


def make(n=3, **kwargs):
    return KnowledgeBase.from_entities(entities(n), torch.eye(n), **{"name": "t"} | kwargs)


def everything(kb):
    """All that a knowledge base knows, to compare two of them."""
    vectors = kb.vectors(range(len(kb)))
    return [(entity, kb.rows([entity.id]).tolist(), vectors[row].tolist()) for row, entity in enumerate(kb)]


@pytest.fixture(params=["memory", "folder"])
def opened(request, tmp_path):
    """Gives a knowledge base back as it is, or saved and opened again."""

    def reopen(kb):
        if request.param == "memory":
            return kb
        kb.save_pretrained(tmp_path / "kb")
        return KnowledgeBase.from_pretrained(tmp_path / "kb")

    return reopen


# ---- asking it ---------------------------------------------------------------------------------------------------


def test_an_entity_comes_back_as_it_was_given(opened, kb):
    found = opened(kb)
    assert len(found) == 5
    assert [found[entity.id] for entity in tiny.ENTITIES] == tiny.ENTITIES


def test_every_optional_field_comes_back(opened):
    full = Entity(
        "x:1", "Ada", ["A. L."], description="Countess.\n2nd line", types=["person", "author"], popularity=0.5
    )
    bare = Entity("x:2", "Bob")
    found = opened(KnowledgeBase.from_entities([bare, full], [[1.0], [2.0]], name="people"))
    assert found["x:1"] == full
    assert found["x:2"] == bare


def test_rows_are_in_order_of_popularity(opened, kb):
    found = opened(kb)
    assert [entity.id for entity in found] == BY_POPULARITY
    assert found.rows(BY_POPULARITY).tolist() == [0, 1, 2, 3, 4]
    assert [found.entity_id(row) for row in range(5)] == BY_POPULARITY
    assert list(found.labels()) == ["New York", "Berlin", "Paris", "York", "Paris"]


def test_entities_of_one_popularity_keep_their_order(opened):
    assert [entity.id for entity in opened(make(9))] == [f"x:{i}" for i in range(9)]


def test_the_vector_of_an_entity_stays_its_own(opened, kb):
    given_vectors = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    found = opened(kb)
    assert torch.equal(found.vectors(found.rows([e.id for e in tiny.ENTITIES])), given_vectors)


def test_rows_are_int64(kb):
    rows = kb.rows(["geo:york", "geo:york"])
    assert rows.dtype == torch.int64
    assert rows.tolist() == [3, 3]
    assert kb.rows([]).shape == (0,)


@pytest.mark.parametrize("rows", [[0, 2], (0, 2), np.array([0, 2]), torch.tensor([0, 2]), np.array([0, 2], np.uint8)])
def test_vectors_of_lists_arrays_and_tensors(opened, rows):
    found = opened(make()).vectors(rows)
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.eye(3)[[0, 2]])


@pytest.mark.parametrize("rows", [[], torch.tensor([], dtype=torch.int64), np.array([])])
def test_vectors_of_nothing(opened, rows):
    assert opened(make()).vectors(rows).shape == (0, 3)


@pytest.mark.parametrize(
    "rows",
    [
        [3],
        [-1],
        [0, 99],
        [0.5],
        [1.0],
        np.array([0.5]),
        torch.tensor([0.5]),
        [[0]],
        0,
        ["0"],
        "0",
        None,
        [None],
        torch.tensor([True, False, True]),
        [[0], [1, 2]],
    ],
)
def test_rows_that_are_no_rows(rows):
    with pytest.raises(KnowledgeBaseError, match="rows: expected"):
        make().vectors(rows)


@pytest.mark.parametrize("rows", [[3], [-1], torch.tensor([0, 99])])
def test_vectors_out_of_range_are_an_index_error_too(opened, rows):
    with pytest.raises(IndexError, match="expected numbers from 0 to 2"):
        opened(make()).vectors(rows)


@pytest.mark.parametrize("row", [5, 99, -1])
def test_the_id_of_a_row_that_is_not_there(opened, kb, row):
    found = opened(kb)
    for error in (IndexError, KnowledgeBaseError):
        with pytest.raises(error, match=f"row: expected a number from 0 to 4, found {row}"):
            found.entity_id(row)


def test_the_id_of_what_is_no_row(kb):
    with pytest.raises(KnowledgeBaseError, match="expected a whole number, found 'geo:york'"):
        kb.entity_id("geo:york")


@pytest.mark.parametrize("entity_id", [3, None, "geo:nowhere", "\ud800", b"geo:york"])
def test_no_row_is_found(opened, kb, entity_id):
    assert opened(kb).find_row(entity_id) is None


def test_who_is_in_it(opened, kb):
    found = opened(kb)
    assert "geo:york" in found
    for other in ("geo:yor", "geo:york ", "", "geo:york\0", "\ud800", None, 5):
        assert other not in found


@pytest.mark.parametrize("entity_id", ["geo:nowhere", "", "geo:york\0", None, 5])
def test_an_unknown_entity(opened, kb, entity_id):
    with pytest.raises(UnknownEntityError, match="ids look like 'geo:new-york'"):
        opened(kb)[entity_id]


def test_an_unknown_entity_among_others(kb):
    with pytest.raises(UnknownEntityError, match="'geo:nowhere'"):
        kb.rows(["geo:york", "geo:nowhere"])


def test_a_text_is_no_list_of_ids(kb):
    with pytest.raises(UnknownEntityError, match=r"Type: rows\(\['geo:york'\]\)"):
        kb.rows("geo:york")


def test_the_prior_decides_among_entities_of_one_name(opened, kb):
    (first, prior), (second, other) = opened(kb).alias_lookup("insensitive").candidates("paris")
    assert (kb.entity_id(first), kb.entity_id(second)) == ("geo:paris", "geo:paris-texas")
    assert prior + other == pytest.approx(1)
    assert prior == pytest.approx(2_000_001 / 2_025_002)


def test_the_best_entity_of_an_alias(opened, kb):
    found = opened(kb)
    assert found.best_entity("Paris") == ("geo:paris", pytest.approx(2_000_001 / 2_025_002))
    assert found.best_entity("city of light") == ("geo:paris", 1.0)
    assert found.best_entity("Par") is None
    assert found.best_entity("") is None


@pytest.mark.parametrize(
    ("name", "asked"), [("Orléans", "Orle\u0301ans"), ("Orle\u0301ans", "ORLÉANS"), (" Orléans ", "Orléans\n")]
)
def test_an_alias_is_found_however_it_is_written(opened, name, asked):
    found = opened(KnowledgeBase.from_entities([Entity("x:1", name)], [[1.0]], name="t"))
    assert found.best_entity(asked) == ("x:1", 1.0)


def test_the_best_entity_minds_case_if_asked(opened, kb):
    found = opened(kb)
    assert found.best_entity("york", "sensitive") is None
    assert found.best_entity("York", "sensitive") == ("geo:york", 1.0)


def test_the_best_entity_of_a_type(opened):
    people = [
        Entity("x:state", "Washington", types=["region"], popularity=7),
        Entity("x:george", "Washington", types=["person", "president"], popularity=2),
        Entity("x:denzel", "Washington", types=["person"]),
        Entity("x:other", "Washington"),
    ]
    found = opened(KnowledgeBase.from_entities(people, torch.eye(4), name="t"))
    assert found.best_entity("Washington")[0] == "x:state"
    assert found.best_entity("Washington", of_type="person") == ("x:george", pytest.approx(3 / 13))
    assert found.best_entity("Washington", of_type="drug") is None
    assert found.best_entity("Oregon", of_type="person") is None


def test_the_best_entity_of_a_type_where_there_are_no_types(opened):
    with pytest.raises(KnowledgeBaseError, match=r"no entity of 't' has types.*Type: Entity\(id, label, types="):
        opened(make()).best_entity("name 0", of_type="person")


def test_the_best_entity_after_an_upsert(opened, kb):
    found = opened(kb)
    assert found.best_entity("Graz") is None
    found.upsert([Entity("geo:graz", "Graz")], torch.ones(1, 8))
    assert found.best_entity("Graz") == ("geo:graz", 1.0)


def test_repr_says_what_it_is(kb):
    assert repr(kb) == "KnowledgeBase('cities', entities=5, aliases=7, dim=8, dtype='float32')"


# ---- what makes none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "vectors", [torch.eye(2), torch.eye(4), torch.zeros(3), [], torch.zeros(3, 0), torch.zeros(3, 2, 2)]
)
def test_rows_that_do_not_match_the_entities(vectors):
    with pytest.raises(KnowledgeBaseError, match="one row per entity"):
        KnowledgeBase.from_entities(entities(3), vectors, name="t")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_vectors_that_are_not_finite(value):
    with pytest.raises(KnowledgeBaseError, match="row 1 holds NaN or infinite"):
        KnowledgeBase.from_entities(entities(2), [[0.0], [value]], name="t")


def test_an_id_twice():
    with pytest.raises(KnowledgeBaseError, match="'x:0' occurs more than once"):
        KnowledgeBase.from_entities([*entities(2), Entity("x:0", "other")], torch.eye(3), name="t")


@pytest.mark.parametrize(
    "options",
    [
        {"version": 2026},
        {"name": 3},
        {"license": ["mit"]},
        {"id_scheme": 5},
        {"linker": "spacy"},
        {"name": "\ud800"},
        {"version": "\udfff"},
    ],
)
def test_what_the_config_could_not_hold_is_refused_at_once(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))}: expected"):
        make(**options)


ENTITY = Entity("x:9", "Ida")


@pytest.mark.parametrize(
    ("entities", "message"),
    [
        (ENTITY, r"expected a list of entities, found a single one\. Type: \[entity\]"),
        ([{"id": "x:9", "label": "Ida"}], r"entities\[0\]: expected an Entity, found dict .*Type: Entity\(\*\*row\)"),
        ([ENTITY, ("x:8", "Eva")], r"entities\[1\]: expected an Entity, found tuple .*Type: Entity\(\*row\)"),
        (["x:9"], r"entities\[0\]: expected an Entity, found str .*Type: Entity\(id, label\)"),
        ("x:9", r"entities\[0\]: expected an Entity, found str"),
        (None, "expected a list of entities, found None"),
        (5, "expected a list of entities, found 5"),
    ],
)
def test_what_is_no_list_of_entities(kb, entities, message):
    with pytest.raises(KnowledgeBaseError, match=message):
        KnowledgeBase.from_entities(entities, [[1.0]], name="t")
    with pytest.raises(KnowledgeBaseError, match=message):
        kb.upsert(entities, [[1.0] * 8])
    assert len(kb) == 5


def test_an_empty_knowledge_base():
    with pytest.raises(KnowledgeBaseError, match="empty"):
        KnowledgeBase.from_entities([], torch.zeros(0, 3), name="t")


def test_an_entity_without_a_name_needs_an_external_linker(opened):
    nameless = [Entity("x:1", " "), Entity("x:2", "Bob")]
    with pytest.raises(KnowledgeBaseError, match="linker='external'"):
        KnowledgeBase.from_entities(nameless, torch.eye(2), name="t")
    found = opened(KnowledgeBase.from_entities(nameless, torch.eye(2), name="t", linker="external"))
    assert found["x:1"].names == ()
    assert found.config.aliases == 1


def test_no_entity_has_a_name(opened):
    found = opened(KnowledgeBase.from_entities([Entity("x:1", "")], [[1.0]], name="t", linker="external"))
    assert found["x:1"] == Entity("x:1", "")
    assert found.alias_lookup("insensitive").best("x") is None


def test_an_alias_will_do_for_a_label(opened):
    found = opened(KnowledgeBase.from_entities([Entity("x:1", "", ["Ada"])], [[1.0]], name="t"))
    assert found["x:1"] == Entity("x:1", "", ["Ada"])


@pytest.mark.parametrize(
    "entity",
    [
        Entity("x:\ud800", "a"),
        Entity("x", "\ud800"),
        Entity("x", "a", description="\udfff"),
        Entity("x", "a", ["\ud83d"]),
    ],
)
def test_half_a_surrogate_pair_is_no_text(entity):
    with pytest.raises(KnowledgeBaseError, match="not Unicode"):
        KnowledgeBase.from_entities([entity], [[1.0]], name="t")


# ---- saving ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shard_bytes", [2_000_000_000, 40])
@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip(tmp_path, dtype, shard_bytes, monkeypatch):
    monkeypatch.setattr(embedding_index, "MAX_SHARD_BYTES", shard_bytes)
    kb = tiny.knowledge_base(dtype=dtype)
    before = everything(kb)
    kb.save_pretrained(tmp_path)
    found = KnowledgeBase.from_pretrained(tmp_path)
    assert everything(found) == everything(kb) == before
    assert replace(found.config, files={}) == kb.config
    assert (found.config.name, found.config.id_scheme) == ("cities", "geo")
    assert (found.config.license, found.config.version, found.config.dtype) == ("cc-by-4.0", "2026-01", dtype)
    found.verify()


@pytest.mark.parametrize("dtype", DTYPES)
def test_saving_what_was_opened(tmp_path, dtype):
    tiny.knowledge_base(dtype=dtype).save_pretrained(tmp_path / "a")
    KnowledgeBase.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    files = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}


FILES = ("embeddings-00001-of-00001.safetensors", "entities.parquet", "aliases.parquet")


def test_what_was_opened_is_not_written_a_second_time(tmp_path, kb):
    kb.save_pretrained(tmp_path / "a")
    found = KnowledgeBase.from_pretrained(tmp_path / "a")
    for name in ("b", "c"):
        found.save_pretrained(tmp_path / name)
        for file in FILES:
            assert (tmp_path / name / file).samefile(tmp_path / "a" / file)
        assert not (tmp_path / name / "config.json").samefile(tmp_path / "a" / "config.json")
        assert not (tmp_path / name / "README.md").samefile(tmp_path / "a" / "README.md")
        KnowledgeBase.from_pretrained(tmp_path / name).verify()


def test_a_save_over_a_second_name_leaves_the_first_as_it_is(tmp_path, kb):
    kb.save_pretrained(tmp_path / "a")
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    found = KnowledgeBase.from_pretrained(tmp_path / "a")
    found.save_pretrained(tmp_path / "b")
    found.save_pretrained(tmp_path / "b")  # over its own second names
    tiny.knowledge_base(seed=1).save_pretrained(tmp_path / "b")
    found.upsert([GRAZ], torch.ones(1, 8))
    found.save_pretrained(tmp_path / "b")
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    KnowledgeBase.from_pretrained(tmp_path / "b").verify()


def test_where_there_are_no_hard_links_it_is_copied(tmp_path, kb, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(18, "Invalid cross-device link")

    kb.save_pretrained(tmp_path / "a")
    monkeypatch.setattr(os, "link", refuse)
    KnowledgeBase.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    for file in FILES:
        assert not (tmp_path / "b" / file).samefile(tmp_path / "a" / file)
    KnowledgeBase.from_pretrained(tmp_path / "b").verify()


def test_what_lies_in_the_cache_of_the_hub_is_copied(tmp_path, kb):
    kb.save_pretrained(tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for path in (tmp_path / "blobs").iterdir():
        (tmp_path / "snapshot" / path.name).symlink_to(os.path.join("..", "blobs", path.name))
    KnowledgeBase.from_pretrained(tmp_path / "snapshot").save_pretrained(tmp_path / "b")
    for file in FILES:
        assert not (tmp_path / "b" / file).is_symlink()
        assert not (tmp_path / "b" / file).samefile(tmp_path / "blobs" / file)
    KnowledgeBase.from_pretrained(tmp_path / "b").verify()


@pytest.mark.parametrize("file", FILES)
def test_what_was_altered_in_place_after_a_save_is_not_saved_again(tmp_path, kb, file):
    kb.save_pretrained(tmp_path / "a")
    found = KnowledgeBase.from_pretrained(tmp_path / "a")
    found.save_pretrained(tmp_path / "b")
    data = bytearray((tmp_path / "a" / file).read_bytes())
    data[len(data) // 2] ^= 1
    with open(tmp_path / "a" / file, "r+b") as opened:
        opened.write(data)
    os.utime(tmp_path / "a" / file, (1, 1))  # a clock of coarse steps would show the same time
    with pytest.raises(ArtifactError, match="no longer its own"):
        found.save_pretrained(tmp_path / "c")
    assert not (tmp_path / "c" / "config.json").exists()


def test_saving_into_its_own_folder(tmp_path, kb):
    kb.save_pretrained(tmp_path)
    found = KnowledgeBase.from_pretrained(tmp_path)
    found.save_pretrained(tmp_path)
    assert everything(found) == everything(kb)
    KnowledgeBase.from_pretrained(tmp_path).verify()


def test_the_files_of_a_folder(tmp_path, kb):
    kb.save_pretrained(tmp_path)
    names = ["README.md", "aliases.parquet", "config.json", "embeddings-00001-of-00001.safetensors", "entities.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    files = KnowledgeBase.from_pretrained(tmp_path).config.files
    assert sorted(files) == sorted(set(names) - {"README.md", "config.json"})
    check_sums(tmp_path, files)


def test_saved_again_after_the_first_folder_is_gone(tmp_path, kb):
    kb.save_pretrained(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    kb.save_pretrained(tmp_path / "b")
    assert everything(KnowledgeBase.from_pretrained(tmp_path / "b")) == everything(kb)


def test_shards_of_an_older_save_go(tmp_path, monkeypatch, kb):
    monkeypatch.setattr(embedding_index, "MAX_SHARD_BYTES", 40)
    kb.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("embeddings-*"))) == 5
    monkeypatch.undo()
    tiny.knowledge_base(seed=1).save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("embeddings-*")] == ["embeddings-00001-of-00001.safetensors"]
    assert everything(KnowledgeBase.from_pretrained(tmp_path)) == everything(tiny.knowledge_base(seed=1))


def test_a_readme_that_a_person_wrote_is_kept(tmp_path, kb):
    (tmp_path / "README.md").write_text("mine")
    kb.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_the_card_is_as_new_as_the_config(tmp_path, kb):
    kb.save_pretrained(tmp_path)
    kb = KnowledgeBase.from_pretrained(tmp_path)
    kb.upsert([Entity("geo:rome", "Rome")], torch.ones(1, 8))
    kb.save_pretrained(tmp_path)
    assert "6 entities" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_the_folder_of_a_plugin_says_where_its_knowledge_base_is(tmp_path):
    KnowledgePlugin.for_model(tiny.classifier(), tiny.knowledge_base()).save_pretrained(tmp_path)
    inner = str(tmp_path / "knowledge_base")
    with pytest.raises(ArtifactError, match="holds a knowledge-plugin") as caught:
        KnowledgeBase.from_pretrained(tmp_path)
    assert f"Type: KnowledgeBase.from_pretrained({inner!r})" in str(caught.value)
    assert len(KnowledgeBase.from_pretrained(inner)) == 5
    shutil.rmtree(inner)  # as of a plugin that refers to a repo
    with pytest.raises(ArtifactError, match="holds a knowledge-plugin") as caught:
        KnowledgeBase.from_pretrained(tmp_path)
    assert str(caught.value).endswith(f"Type: KnowledgePlugin.from_pretrained({str(tmp_path)!r}).knowledge_base")


def test_a_file_is_no_place_for_a_knowledge_base(tmp_path, kb):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SaveError):
        kb.save_pretrained(tmp_path / "file")


def test_what_another_wrote_over_its_files_is_not_taken_for_its_own(tmp_path, kb):
    kb.save_pretrained(tmp_path / "a")
    kb = KnowledgeBase.from_pretrained(tmp_path / "a")
    make(5).save_pretrained(tmp_path / "a")
    with pytest.raises(KnowledgePluginError, match="altered"):
        kb.save_pretrained(tmp_path / "b")
    assert not (tmp_path / "b" / "config.json").exists()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
    str.strip
)


@given(data=st.data())
def test_any_unicode_survives(tmp_path_factory, data):
    ids = data.draw(st.lists(IDS, unique=True, min_size=1, max_size=6))
    given_entities = []
    for entity_id in ids:
        label = data.draw(TEXTS.filter(str.strip))
        aliases = [a for a in data.draw(st.lists(TEXTS, unique=True, max_size=3)) if a.strip() and a != label]
        given_entities.append(Entity(entity_id, label, aliases, description=data.draw(st.none() | TEXTS)))
    vectors = torch.arange(len(ids)).float()[:, None]
    folder = tmp_path_factory.mktemp("kb")
    KnowledgeBase.from_entities(given_entities, vectors, name=data.draw(TEXTS), id_scheme="x").save_pretrained(folder)
    found = KnowledgeBase.from_pretrained(folder)
    assert [found[entity_id] for entity_id in ids] == given_entities
    assert list(found) == given_entities
    assert torch.equal(found.vectors(found.rows(ids)), vectors)


# ---- the lookup cache --------------------------------------------------------------------------------------------


def use_lookups(kb):
    return (
        kb.rows(["geo:york"]).tolist(),
        kb.alias_lookup("insensitive").best("york"),
        kb.alias_lookup("sensitive").best("york"),
    )


def test_the_second_opening_builds_nothing(tmp_path, kb, monkeypatch):
    kb.save_pretrained(tmp_path)
    expected = use_lookups(KnowledgeBase.from_pretrained(tmp_path))

    def fail(*args):
        raise AssertionError("built again")

    monkeypatch.setattr(IdLookup, "build", fail)
    monkeypatch.setattr(AliasLookup, "build", fail)
    assert use_lookups(KnowledgeBase.from_pretrained(tmp_path)) == expected


def test_a_copy_elsewhere_shares_the_cache(tmp_path, kb, monkeypatch):
    kb.save_pretrained(tmp_path / "a")
    kb.save_pretrained(tmp_path / "b")
    expected = use_lookups(KnowledgeBase.from_pretrained(tmp_path / "a"))
    monkeypatch.setattr(IdLookup, "build", None)
    monkeypatch.setattr(AliasLookup, "build", None)
    assert use_lookups(KnowledgeBase.from_pretrained(tmp_path / "b")) == expected


# ---- changing it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_upsert_adds_and_replaces(tmp_path, opened, dtype):
    kb = opened(tiny.knowledge_base(dtype=dtype))
    before = {entity.id: kb.vectors(kb.rows([entity.id])) for entity in kb}
    changed = Entity("geo:york", "Eboracum", aliases=["York"], popularity=5)
    new = Entity("geo:graz", "Graz", description="Styria.")
    kb.upsert([new, changed], torch.stack([torch.full((8,), 2.0), torch.full((8,), -4.0)]))
    kb.save_pretrained(tmp_path / "again")
    for found in (kb, KnowledgeBase.from_pretrained(tmp_path / "again")):
        assert len(found) == 6
        assert found["geo:graz"] == new
        assert found["geo:york"] == changed
        assert found.rows([*BY_POPULARITY, "geo:graz"]).tolist() == [0, 1, 2, 3, 4, 5]
        assert torch.equal(found.vectors(found.rows(["geo:graz", "geo:york"]))[:, 0], torch.tensor([2.0, -4.0]))
        assert found.entity_id(found.alias_lookup("insensitive").best("eboracum")[0]) == "geo:york"
        assert found.entity_id(found.alias_lookup("insensitive").best("graz")[0]) == "geo:graz"
        for other in set(BY_POPULARITY) - {"geo:york"}:
            torch.testing.assert_close(found.vectors(found.rows([other])), before[other], rtol=1e-6, atol=0)


def test_upsert_after_the_names_were_looked_up(opened, kb):
    found = opened(kb)
    found.alias_lookup("insensitive")
    found.upsert([Entity("geo:graz", "Graz")], torch.ones(1, 8))
    assert found.alias_lookup("insensitive").best("graz") is not None


def test_what_comes_after_an_upsert_is_last_however_popular(kb):
    kb.upsert([Entity("geo:tokyo", "Tokyo", popularity=10**9)], torch.ones(1, 8))
    assert [entity.id for entity in kb] == [*BY_POPULARITY, "geo:tokyo"]


def interrupted_by(change, read, step):
    """Let another thread make a change before the n-th instruction of a reading.

    Returns:
        What was read, and whether the reading was as long as that.
    """
    left = [step]

    def trace(frame, event, argument):
        # Only there is what changes within reach; what stands below sees what it is given.
        if not frame.f_code.co_filename.endswith("knowledge_base.py"):
            return None
        frame.f_trace_opcodes = True
        left[0] -= event == "opcode"
        if event == "opcode" and left[0] == 0:
            sys.settrace(None)
            thread = threading.Thread(target=change, daemon=True)
            thread.start()
            thread.join(10)
            assert not thread.is_alive(), "who reads keeps others from changing it"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = read()
    finally:
        sys.settrace(before)
    return found, left[0] <= 0


def or_error(read):
    try:
        return read()
    except KnowledgeBaseError as error:
        return type(error)


@pytest.mark.parametrize(
    "ask",
    [
        lambda kb: or_error(lambda: kb["geo:graz"]),
        lambda kb: or_error(lambda: kb.row("geo:graz")),
        lambda kb: or_error(lambda: kb.rows(["geo:york", "geo:graz"]).tolist()),
        lambda kb: "geo:graz" in kb,
        lambda kb: kb["geo:york"],
        lambda kb: kb.best_entity("graz"),
        lambda kb: kb.best_entity("york"),
        lambda kb: kb.best_entity("york", of_type="town"),
        lambda kb: kb.vectors([3]).tolist(),
        lambda kb: kb.entity_id(4),
        lambda kb: [entity.id for entity in kb],
        lambda kb: list(kb.names()),
        lambda kb: repr(kb),
        lambda kb: kb.verify(),
        lambda kb: or_error(lambda: everything(kb.with_vectors(torch.eye(5)))),
    ],
)
def test_a_change_in_the_midst_of_a_reading(ask):
    """Whoever reads gets what was there before the change, or what is there after it, and no mixture."""

    def fresh():
        kb = KnowledgeBase.from_entities(
            [replace(entity, types=["city"]) for entity in tiny.ENTITIES], torch.zeros(5, 8), name="cities"
        )
        kb.best_entity("york")
        return kb

    def change():
        kb.upsert(
            [Entity("geo:york", "Eboracum", types=["town"]), Entity("geo:graz", "Graz"), Entity("geo:o", "York")],
            torch.ones(3, 8),
        )

    kb = fresh()
    before = ask(kb)
    change()
    expected = [before, ask(kb)]
    for step in itertools.count(1):
        kb = fresh()
        found, was_interrupted = interrupted_by(change, lambda: ask(kb), step)
        assert found in expected, f"interrupted at instruction {step}"
        if not was_interrupted:
            break
    assert step > 5


def test_what_iterates_already_goes_on_with_what_it_began(kb):
    labels, before = iter(kb), len(kb)
    next(labels)
    kb.upsert([Entity("geo:graz", "Graz")], torch.ones(1, 8))
    assert len(list(labels)) == before - 1


def test_upserts_of_many_threads_are_all_kept(kb):
    def upsert(i):
        kb.upsert([Entity(f"geo:{i}", f"town {i}")], torch.full((1, 8), float(i)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upsert, range(20)))
    assert len(kb) == 25
    for i in range(20):
        assert kb.vectors(kb.rows([f"geo:{i}"])).tolist() == [[float(i)] * 8]
        assert kb.best_entity(f"town {i}") == (f"geo:{i}", 1.0)


def test_upsert_of_nothing(opened, kb):
    found = opened(kb)
    before = everything(found)
    found.upsert([], [])
    assert everything(found) == before


def test_upsert_touches_no_file(tmp_path, kb):
    kb.save_pretrained(tmp_path)
    found = KnowledgeBase.from_pretrained(tmp_path)
    found.upsert([Entity("geo:graz", "Graz")], torch.ones(1, 8))
    assert "geo:graz" not in KnowledgeBase.from_pretrained(tmp_path)
    found.save_pretrained(tmp_path)
    assert KnowledgeBase.from_pretrained(tmp_path)["geo:graz"].label == "Graz"


GRAZ = Entity("geo:graz", "Graz")


@pytest.mark.parametrize(
    ("new", "vectors"),
    [
        ([GRAZ], torch.ones(1, 7)),
        ([GRAZ], torch.ones(2, 8)),
        ([GRAZ], torch.full((1, 8), float("nan"))),
        ([GRAZ, GRAZ], torch.ones(2, 8)),
        ([Entity("geo:graz", "")], torch.ones(1, 8)),
        ([Entity("geo:york", "")], torch.ones(1, 8)),
        ([Entity("geo:york", "York"), Entity("geo:graz", "\ud800")], torch.ones(2, 8)),
        ([GRAZ], "vectors"),
    ],
)
def test_an_upsert_that_fails_changes_nothing(opened, kb, new, vectors):
    found = opened(kb)
    before = everything(found)
    with pytest.raises(KnowledgeBaseError):
        found.upsert(new, vectors)
    assert everything(found) == before
    assert len(found) == 5
    assert "geo:graz" not in found
    assert found.alias_lookup("insensitive").best("graz") is None


def test_an_upsert_that_float16_cannot_hold_changes_nothing():
    kb = tiny.knowledge_base(dtype="float16")
    before = everything(kb)
    with pytest.raises(KnowledgeBaseError, match="float16"):
        kb.upsert([GRAZ], torch.full((1, 8), 1e6))
    assert everything(kb) == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_with_vectors(tmp_path, opened, dtype):
    kb = opened(tiny.knowledge_base(dtype=dtype))
    before = everything(kb)
    other = kb.with_vectors(torch.arange(15).reshape(5, 3).float())
    assert [entity for entity, _, _ in everything(other)] == list(kb)
    assert other.config.dim == 3
    assert other.config.dtype == dtype
    torch.testing.assert_close(other.vectors([0, 4])[:, 2], torch.tensor([2.0, 14.0]), rtol=0.01, atol=0.06)
    assert everything(kb) == before
    other.save_pretrained(tmp_path / "other")
    assert everything(KnowledgeBase.from_pretrained(tmp_path / "other")) == everything(other)


@pytest.mark.parametrize("vectors", [torch.zeros(4, 8), torch.full((5, 8), float("inf"))])
def test_with_vectors_that_do_not_fit(kb, vectors):
    with pytest.raises(KnowledgeBaseError):
        kb.with_vectors(vectors)


# ---- travelling --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_pickle(opened, dtype):
    kb = opened(tiny.knowledge_base(dtype=dtype))
    found = pickle.loads(pickle.dumps(kb))
    assert everything(found) == everything(kb)
    assert replace(found.config, files={}) == replace(kb.config, files={})


def test_a_pickle_of_a_folder_is_its_path(tmp_path):
    kb = KnowledgeBase.from_entities(entities(2000), torch.randn(2000, 64), name="large")
    kb.save_pretrained(tmp_path)
    assert len(pickle.dumps(KnowledgeBase.from_pretrained(tmp_path))) < 1000


def test_pickle_of_other_vectors_and_of_an_upsert(tmp_path, kb):
    kb.save_pretrained(tmp_path)
    other = KnowledgeBase.from_pretrained(tmp_path).with_vectors(torch.ones(5, 2))
    assert everything(pickle.loads(pickle.dumps(other))) == everything(other)
    kb.upsert([GRAZ], torch.ones(1, 8))
    assert everything(pickle.loads(pickle.dumps(kb))) == everything(kb)


def test_a_deep_copy_is_the_knowledge_base_itself(kb):
    assert copy.deepcopy({"kb": kb})["kb"] is kb


def test_into_memory(tmp_path, kb):
    kb.save_pretrained(tmp_path)
    found = KnowledgeBase.from_pretrained(tmp_path)
    found.to_memory()
    assert everything(found) == everything(kb)


# ---- verify ------------------------------------------------------------------------------------------------------


def test_verify_of_a_whole_one(opened, kb):
    opened(kb).verify()


@pytest.mark.parametrize("name", ["entities.parquet", "aliases.parquet", "embeddings-00001-of-00001.safetensors"])
def test_verify_reads_every_byte(tmp_path, kb, name):
    kb.save_pretrained(tmp_path)
    found = KnowledgeBase.from_pretrained(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArtifactError, match="checksum"):
        found.verify()


class TestAfterAnotherSave:
    """A knowledge base that is open goes on with what it opened, whatever is saved into its folder meanwhile."""

    @pytest.fixture
    def opened(self, kb, tmp_path):
        kb.save_pretrained(tmp_path)
        opened = KnowledgeBase.from_pretrained(tmp_path)
        reversed_entities = [replace(e, popularity=i) for i, e in enumerate(kb)]
        KnowledgeBase.from_entities(reversed_entities, kb.vectors(range(len(kb))), name="cities").save_pretrained(
            tmp_path
        )
        return opened

    def test_entities_are_read_from_what_was_opened(self, opened, kb):
        assert list(opened) == list(kb)
        assert list(opened.labels()) == list(kb.labels())

    def test_an_upsert_keeps_each_vector_with_its_entity(self, opened, kb):
        opened.upsert([Entity("geo:new", "New Town")], torch.ones(1, 8))
        for entity in kb:
            assert torch.equal(opened.vectors(opened.rows([entity.id])), kb.vectors(kb.rows([entity.id])))


class TestPublishedPriors:
    @pytest.fixture
    def kb(self, tmp_path):
        """Says, against popularity, that "Paris" mostly means the smaller one."""
        kb = tiny.knowledge_base()
        small = kb.row("geo:paris-texas")
        names = [(n, r, 0.95 if r == small else 0.05 if n == "Paris" else p) for n, r, p in kb.names()]
        published = pa.Table.from_pylist([dict(zip(_SCHEMA.names, n, strict=True)) for n in names], _SCHEMA)
        kb = KnowledgeBase(assemble(to_columns(list(kb)), kb.index, kb.config, published))
        assert kb.best_entity("Paris")[0] == "geo:paris-texas"
        return kb

    def test_they_survive_the_upsert_of_another_entity(self, kb):
        kb.upsert([Entity("geo:new", "New Town", popularity=5)], torch.ones(1, 8))
        assert kb.best_entity("Paris")[0] == "geo:paris-texas"
        assert kb.best_entity("New Town") == ("geo:new", 1.0)

    def test_a_new_bearer_of_a_name_makes_them_anew(self, kb):
        kb.upsert([Entity("geo:paris-ontario", "Paris", popularity=10**9)], torch.ones(1, 8))
        assert kb.best_entity("Paris")[0] == "geo:paris-ontario"
        assert kb.best_entity("Berlin") == ("geo:berlin", 1.0)

    def test_they_survive_a_pickle(self, kb):
        assert pickle.loads(pickle.dumps(kb)).best_entity("Paris")[0] == "geo:paris-texas"


_SCHEMA = pa.schema({"alias": pa.string(), "row": pa.int64(), "prior": pa.float32()})


def test_a_relative_folder_is_found_from_elsewhere_too(kb, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    kb.save_pretrained("mine")
    opened = KnowledgeBase.from_pretrained("mine")
    monkeypatch.chdir(tmp_path / "there")
    assert opened["geo:york"].label == "York"
    assert len(pickle.loads(pickle.dumps(opened))) == len(kb)
