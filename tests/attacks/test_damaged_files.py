"""Files that are truncated, altered or swapped, by accident (the config says otherwise) or on purpose (it agrees)."""

from __future__ import annotations

import pickle
import shutil

import pytest

from knowledge_plugin import KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import ArtifactError, KnowledgePluginError
from tests.attacks.hostile import MAPPING, SHARD, contents, flip, redeclare, save_kb, save_plugin, truncate, use

FILES = [SHARD, "entities.parquet", "aliases.parquet"]


class Evil:
    """Unpickling it would be seen."""

    unpickled = False

    def __reduce__(self):
        return setattr, (Evil, "unpickled", True)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "half": truncate,
    "one byte short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "one byte more": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Evil())),
    "text": lambda path: path.write_text("<html>404</html>"),
    "beginning altered": lambda path: flip(path, 0.0),
    "missing": lambda path: path.unlink(),
}


@pytest.fixture
def kb_folder(tmp_path):
    return save_kb(tmp_path / "kb")


@pytest.fixture
def plugin_folder(tmp_path):
    return save_plugin(tmp_path / "plugin")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_of_a_knowledge_base(kb_folder, name, damage):
    DAMAGES[damage](kb_folder / name)
    with pytest.raises(ArtifactError):
        use(kb_folder)
        KnowledgeBase.from_pretrained(kb_folder).verify()
    assert not Evil.unpickled


# A Parquet file is read from its end: whatever its first bytes are, it is whole.
DECEPTIONS = [
    (name, damage)
    for name in FILES
    for damage in sorted(set(DAMAGES) - {"missing", "one byte more"})
    if name == SHARD or damage != "beginning altered"
]


@pytest.mark.parametrize(("name", "damage"), DECEPTIONS)
def test_a_damaged_file_whose_sum_the_config_declares(kb_folder, name, damage):
    DAMAGES[damage](kb_folder / name)
    redeclare(kb_folder, name)
    with pytest.raises(ArtifactError):
        use(kb_folder)
        KnowledgeBase.from_pretrained(kb_folder).verify()
    assert not Evil.unpickled


@pytest.mark.parametrize("name", ["entities.parquet", "aliases.parquet"])
def test_a_table_altered_anywhere_whose_sum_the_config_declares(kb_folder, name):
    """It is refused, or read as another table that is whole; never is there an error of another kind."""
    whole = (kb_folder / name).read_bytes()
    refused, read = [], []
    for place in range(0, len(whole), 7):
        (kb_folder / name).write_bytes(whole)
        flip(kb_folder / name, place / len(whole))
        redeclare(kb_folder, name)
        try:
            use(kb_folder)
            KnowledgeBase.from_pretrained(kb_folder).verify()
        except KnowledgePluginError:
            refused.append(place)
        else:
            read.append(place)
            kb = KnowledgeBase.from_pretrained(kb_folder)
            entities = list(kb)
            assert len(entities) == len(kb) == 5, place
            assert [kb.entity_id(kb.row(entity.id)) for entity in entities] == [e.id for e in entities], place
            assert {row for _, row, _ in kb.names()} <= set(range(5)), place
    # Most of the file matters; the sum alone would tell of the rest.
    assert len(refused) > len(read) > 0


@pytest.mark.parametrize("name", ["entities.parquet", "aliases.parquet"])
def test_an_altered_table_of_the_same_size_is_not_looked_up_nor_cached(kb_folder, name, tmp_path, monkeypatch):
    monkeypatch.setattr("knowledge_plugin.knowledge_base.lookup.cached_assets_path", lambda *a, **k: tmp_path)
    flip(kb_folder / name, 0.0)  # where Arrow does not look
    altered = KnowledgeBase.from_pretrained(kb_folder)
    for _ in range(2):
        with pytest.raises(ArtifactError, match="altered"):
            altered.alias_lookup("insensitive")
            altered.rows(["geo:york"])
    # The whole one of the same sums still opens: nothing of the altered one is in the cache.
    whole = KnowledgeBase.from_pretrained(save_kb(tmp_path / "whole"))
    assert whole.entity_id(whole.alias_lookup("insensitive").best("york")[0]) == "geo:york"
    assert whole.rows(["geo:york"]).tolist() == [3]


def test_an_altered_table_is_not_saved_on(kb_folder, tmp_path):
    flip(kb_folder / "aliases.parquet", 0.0)
    with pytest.raises(ArtifactError, match="altered"):
        KnowledgeBase.from_pretrained(kb_folder).save_pretrained(tmp_path / "copy")
    assert contents(tmp_path / "copy") == {}


def test_shards_swapped(tmp_path, monkeypatch):
    monkeypatch.setattr("knowledge_plugin.knowledge_base.embedding_index.MAX_SHARD_BYTES", 72)
    folder = save_kb(tmp_path / "kb")
    first, second = folder / "embeddings-00001-of-00003.safetensors", folder / "embeddings-00002-of-00003.safetensors"
    first.rename(tmp_path / "first")
    second.rename(first)
    (tmp_path / "first").rename(second)
    with pytest.raises(ArtifactError, match="checksum"):
        KnowledgeBase.from_pretrained(folder).verify()


def test_tables_swapped(kb_folder, tmp_path):
    (kb_folder / "entities.parquet").rename(tmp_path / "entities")
    (kb_folder / "aliases.parquet").rename(kb_folder / "entities.parquet")
    (tmp_path / "entities").rename(kb_folder / "aliases.parquet")
    with pytest.raises(ArtifactError):
        KnowledgeBase.from_pretrained(kb_folder)
    redeclare(kb_folder, "entities.parquet", "aliases.parquet")
    with pytest.raises(ArtifactError, match="column"):
        KnowledgeBase.from_pretrained(kb_folder)


@pytest.mark.parametrize("deceive", [False, True])
def test_a_mapping_and_a_shard_swapped(plugin_folder, deceive):
    shutil.copyfile(plugin_folder / "knowledge_base" / SHARD, plugin_folder / MAPPING)
    if deceive:
        redeclare(plugin_folder, MAPPING)
    with pytest.raises(KnowledgePluginError):
        KnowledgePlugin.from_pretrained(plugin_folder)


@pytest.mark.parametrize("deceive", [False, True])
@pytest.mark.parametrize("damage", sorted(set(DAMAGES) - {"missing", "one byte more"}))
def test_a_damaged_mapping(plugin_folder, damage, deceive):
    DAMAGES[damage](plugin_folder / MAPPING)
    if deceive:
        redeclare(plugin_folder, MAPPING)
    with pytest.raises(ArtifactError):
        KnowledgePlugin.from_pretrained(plugin_folder)
    assert not Evil.unpickled


@pytest.mark.parametrize("damage", ["missing", "one byte more"])
def test_a_mapping_that_is_missing_or_longer(plugin_folder, damage):
    DAMAGES[damage](plugin_folder / MAPPING)
    with pytest.raises(ArtifactError):
        KnowledgePlugin.from_pretrained(plugin_folder)


def test_a_mapping_altered_in_one_weight(plugin_folder):
    flip(plugin_folder / MAPPING, 0.9)
    with pytest.raises(ArtifactError, match="checksum"):
        KnowledgePlugin.from_pretrained(plugin_folder)


@pytest.mark.parametrize("damage", sorted(set(DAMAGES) - {"one byte short"}))  # which is the line's end
@pytest.mark.parametrize("inner", ["", "knowledge_base"])
def test_a_damaged_config_of_a_plugin(plugin_folder, inner, damage):
    DAMAGES[damage](plugin_folder / inner / "config.json")
    with pytest.raises(KnowledgePluginError):
        KnowledgePlugin.from_pretrained(plugin_folder)
    assert not Evil.unpickled


def test_files_of_two_saves_mixed(tmp_path):
    old, new = save_plugin(tmp_path / "old", seed=0), save_plugin(tmp_path / "new", seed=1)
    shutil.copyfile(new / MAPPING, old / MAPPING)
    with pytest.raises(ArtifactError, match="altered"):
        KnowledgePlugin.from_pretrained(old)
