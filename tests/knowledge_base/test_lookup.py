from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin.errors import ArtifactError, KnowledgeBaseError
from knowledge_plugin.knowledge_base import lookup
from knowledge_plugin.knowledge_base.lookup import AliasLookup, IdLookup, alias_key

NAMES = [("Paris", 0, 0.9), ("PARIS", 1, 0.1), ("paris", 0, 0.5), ("New York", 2, 1.0), (" York ", 3, 1.0)]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of this test's own."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(lookup, "cached_assets_path", lambda *args, **kwargs: folder)
    return folder


def id_lookup(ids):
    return IdLookup.build(pa.chunked_array([ids], pa.string()))


def alias_lookup(names, case):
    columns = zip(*names, strict=True) if names else [[], [], []]
    kinds = (pa.string(), pa.int64(), pa.float32())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return AliasLookup.build(pa.table(arrays, ["alias", "row", "prior"]), case)


def cached(kind, key, build, count=3):
    return lookup.cached(kind, key, build, count, "here")


class Builds:
    """Builds a lookup of three ids and counts how often."""

    def __init__(self):
        self.n = 0

    def __call__(self):
        self.n += 1
        return id_lookup(["x:1", "x:2", "x:3"])


def test_ids_to_rows_and_back():
    ids = ["x:10", "x:1", "y", "x:100", "東京:1"]
    found = id_lookup(ids)
    assert [found.row(i) for i in ids] == [0, 1, 2, 3, 4]
    assert [found.id(row) for row in range(5)] == ids
    assert found.row("x:") is None
    assert found.row("x:1000") is None
    assert found.row("") is None


def test_an_id_twice_is_refused():
    with pytest.raises(KnowledgeBaseError, match="'x:1' occurs more than once"):
        id_lookup(["x:1", "x:2", "x:1"])


IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=10)


@given(st.lists(IDS, unique=True, min_size=1, max_size=30))
def test_any_unicode_is_an_id(ids):
    found = id_lookup(ids)
    assert [found.row(i) for i in ids] == list(range(len(ids)))
    assert [found.id(row) for row in range(len(ids))] == ids


def test_spellings_that_differ_in_case_fall_together():
    found = alias_lookup(NAMES, "insensitive")
    assert found.best("paris") == (0, pytest.approx(0.9))
    assert found.candidates("paris") == [(0, pytest.approx(0.9)), (1, pytest.approx(0.1))]


def test_with_a_sensitive_policy_they_do_not():
    found = alias_lookup(NAMES, "sensitive")
    assert found.best("PARIS") == (1, pytest.approx(0.1))
    assert found.candidates("paris") == [(0, pytest.approx(0.5))]


def test_a_name_that_is_not_there():
    found = alias_lookup(NAMES, "insensitive")
    assert found.best("par") is None
    assert found.candidates("par") == []


def test_of_equal_priors_the_first_row_wins():
    assert alias_lookup([("a", 5, 0.5), ("a", 2, 0.5)], "sensitive").best("a") == (2, 0.5)


def test_blanks_around_a_name_do_not_count():
    assert alias_lookup(NAMES, "insensitive").best("york") == (3, 1.0)


def test_the_longest_name_is_known():
    assert alias_lookup(NAMES, "insensitive").max_length[0] == len("new york")
    assert alias_lookup([], "insensitive").max_length[0] == 0


def test_a_name_that_nobody_writes_out_is_left_out():
    assert alias_lookup([("a" * 10_000, 0, 1.0), ("b", 0, 1.0)], "sensitive").max_length[0] == 1


@pytest.mark.parametrize("rows", [[-1], [0, 5], [2**31 - 1]])
def test_rows_that_are_not_there(rows):
    found = alias_lookup([(f"name {row}", row, 1.0) for row in rows], "sensitive")
    with pytest.raises(ArtifactError, match="rows that are not there"):
        found.check(5, "here")


@pytest.mark.parametrize("row", [2**31, -(2**40), 2**62])
def test_rows_beyond_32_bits(row):
    with pytest.raises(ArtifactError):
        alias_lookup([("name", row, 1.0)], "sensitive").check(5, "here")


def test_a_lookup_comes_back_from_disk(tmp_path):
    built = alias_lookup(NAMES, "insensitive")
    built.save(tmp_path)
    opened = AliasLookup.open(tmp_path)
    assert opened.candidates("paris") == built.candidates("paris")
    for name in AliasLookup.arrays:
        np.testing.assert_array_equal(getattr(opened, name), getattr(built, name))


def test_the_second_time_it_is_not_built(cache):
    build = Builds()
    assert cached(IdLookup, "key", build).row("x:2") == 1
    assert cached(IdLookup, "key", build).row("x:2") == 1
    assert build.n == 1
    assert sorted(path.name for path in cache.iterdir()) == ["key"]


def test_another_key_is_another_lookup(cache):
    build = Builds()
    cached(IdLookup, "key", build)
    cached(IdLookup, "other key", build)
    assert build.n == 2


def replaced(folder, other):
    """Put another lookup in the place of the one in a folder, whole by its own sizes."""
    shutil.rmtree(folder)
    folder.mkdir()
    other.save(folder)


def edited(**arrays):
    found = id_lookup(["x:1", "x:2", "x:3"])
    for name, values in arrays.items():
        setattr(found, name, np.array(values, np.int32))
    return found


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "truncated trie": lambda folder: truncate(folder / "keys.marisa"),
    "truncated array": lambda folder: truncate(folder / "row_of_key.npy"),
    "missing trie": lambda folder: (folder / "keys.marisa").unlink(),
    "missing array": lambda folder: (folder / "key_of_row.npy").unlink(),
    "missing manifest": lambda folder: (folder / "manifest.json").unlink(),
    "truncated manifest": lambda folder: truncate(folder / "manifest.json"),
    "manifest of nothing": lambda folder: (
        (folder / "manifest.json").write_text("{}"),
        truncate(folder / "keys.marisa"),
    ),
    "manifest of nothing, array": lambda folder: (
        (folder / "manifest.json").write_text("{}"),
        (folder / "row_of_key.npy").write_bytes(b""),
    ),
    "manifest that is a list": lambda folder: (folder / "manifest.json").write_text("[]"),
    "empty folder": lambda folder: [path.unlink() for path in folder.iterdir()],
    "a file": lambda folder: (shutil.rmtree(folder), folder.write_text("mine")),
    "another trie": lambda folder: replaced(folder, id_lookup(["x:1", "x:2"])),
    "rows that are not there": lambda folder: replaced(folder, edited(row_of_key=[0, 1, 3])),
    "a row twice": lambda folder: replaced(folder, edited(row_of_key=[0, 2, 2])),
    "a key twice": lambda folder: replaced(folder, edited(key_of_row=[1, 1, 2])),
    "keys before the first": lambda folder: replaced(folder, edited(key_of_row=[-1, 1, 2])),
    "an array of another shape": lambda folder: replaced(folder, edited(key_of_row=[[0, 1, 2]])),
    "an array of another length": lambda folder: replaced(folder, edited(key_of_row=[0, 1])),
    "zeros": lambda folder: replaced(folder, edited(row_of_key=[0, 0, 0])),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_built_again(cache, damage):
    cached(IdLookup, "key", Builds())
    DAMAGES[damage](cache / "key")
    build = Builds()
    assert cached(IdLookup, "key", build).row("x:3") == 2
    assert build.n == 1
    assert cached(IdLookup, "key", build).row("x:3") == 2
    assert build.n == 1


@pytest.mark.parametrize(
    ("array", "values"),
    [
        ("starts", [0, 2, 3, 5]),
        ("starts", [1, 2, 3, 4]),
        ("starts", [0, 2, 2, 4]),
        ("starts", [0, 3, 2, 4]),
        ("starts", [0, 2, 4]),
        ("rows", [0, 1, 2, 4]),
        ("rows", [0, 1, -2, 3]),
        ("rows", [0, 1, 2]),
        ("priors", [0.9, 0.1, 1, 2]),
        ("priors", [0.9, 0.1, 1, float("nan")]),
        ("max_length", [1, 2]),
    ],
)
def test_a_damaged_cache_of_names_is_built_again(cache, array, values):
    cached(AliasLookup, "key", lambda: alias_lookup(NAMES, "insensitive"), 4)
    found = AliasLookup.open(cache / "key")
    whole = getattr(found, array)
    setattr(found, array, np.array(values, whole.dtype))
    replaced(cache / "key", found)
    again = cached(AliasLookup, "key", lambda: alias_lookup(NAMES, "insensitive"), 4)
    np.testing.assert_array_equal(getattr(again, array), whole)
    np.testing.assert_array_equal(getattr(AliasLookup.open(cache / "key"), array), whole)


def test_what_leads_nowhere_does_not_enter_the_cache(cache):
    for _ in range(2):
        with pytest.raises(ArtifactError, match="here: the alias table leads to rows that are not there"):
            cached(AliasLookup, "key", lambda: alias_lookup(NAMES, "insensitive"), 2)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (" Paris ", "paris"),
        ("a" * 200, "a" * 200),
        ("a" * 201, None),
        (" ", None),
        ("", None),
        ("a\0b", None),
        ("E\u0301", "é"),
    ],
)
def test_the_key_of_a_name(name, key):
    assert alias_key(name, "insensitive") == key


def test_a_cache_that_cannot_be_written_warns_and_works(cache, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(lookup.tempfile, "mkdtemp", refuse)
    with pytest.warns(UserWarning, match="built again each time"):
        assert cached(IdLookup, "key", Builds()).row("x:2") == 1


def test_a_full_disk_leaves_nothing_in_the_cache(cache, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lookup.np, "save", refuse)
    with pytest.warns(UserWarning, match="No space left"):
        assert cached(IdLookup, "key", Builds()).row("x:2") == 1
    assert list(cache.iterdir()) == []


def test_a_file_in_place_of_the_cache_warns_and_works(tmp_path, monkeypatch):
    (tmp_path / "assets").write_text("mine")
    real = lookup.cached_assets_path
    monkeypatch.setattr(lookup, "cached_assets_path", lambda *a, **k: real(*a, **k, assets_dir=tmp_path / "assets"))
    with pytest.warns(UserWarning, match="built again each time"):
        assert cached(IdLookup, "key", Builds()).row("x:2") == 1
    assert (tmp_path / "assets").read_text() == "mine"


def test_an_error_while_building_leaves_nothing_in_the_cache(cache):
    with pytest.raises(KnowledgeBaseError):
        cached(IdLookup, "key", lambda: id_lookup(["x:1", "x:1"]))
    assert list(cache.iterdir()) == []


def test_a_faster_process_is_no_trouble(cache):
    def build():
        cached(IdLookup, "key", Builds())  # another process finishes while this one builds
        return id_lookup(["x:1", "x:2", "x:3"])

    assert cached(IdLookup, "key", build).row("x:2") == 1
    assert sorted(Path(path).name for path in cache.iterdir()) == ["key"]


@pytest.mark.parametrize("query", ["x:1\0", "x:1\0x:2", "\0", "\ud800", "x:1\udc00"])
def test_an_id_that_no_entity_can_have(query):
    assert id_lookup(["x:1", "x:2"]).row(query) is None


def test_a_nul_character_cuts_no_name_off():
    found = alias_lookup([("Paris", 0, 1.0), ("Paris\0London", 1, 1.0)], "sensitive")
    assert found.candidates("Paris") == [(0, 1.0)]
    assert found.best("Paris\0London") is None
    with pytest.raises(KnowledgeBaseError, match="NUL"):
        id_lookup(["x:1", "x:1\0"])
