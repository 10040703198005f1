"""Files as the published code of map-tuning writes them, made here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from knowledge_plugin import KnowledgeBase
from knowledge_plugin.building import published
from knowledge_plugin.building.published import convert_published_vectors, read_published_mapping
from knowledge_plugin.errors import ArtifactError
from tests.published_files import IDS, NAMES, write_files


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


def convert(files, **options) -> KnowledgeBase:
    options = {"entity_map": files / "entity_map.txt", "name": "cities"} | options
    return convert_published_vectors(files / "transe.npy", files / "entity2id.txt", files / "kb", **options)


def test_every_entity_keeps_its_vector(files):
    kb = convert(files)
    table = np.load(files / "transe.npy")
    for row, qid in enumerate(IDS):
        assert kb.vectors(kb.rows([f"wikidata:{qid}"]))[0].tolist() == table[row].tolist()
    assert [entity.id for entity in kb] == [f"wikidata:{qid}" for qid in IDS]
    kb.verify()


def test_names_lead_to_entities(files):
    kb = convert(files)
    assert kb.config.linker == "dictionary"
    assert kb["wikidata:Q60"].label == "New York"
    assert kb["wikidata:Q60"].aliases == ("Big Apple",)
    assert kb.best_entity("berlin") == ("wikidata:Q64", 1.0)
    assert kb.best_entity("Paris")[1] == 0.5  # two entities bear it
    assert kb.config.aliases == 7  # the name of an entity without a vector is left out


def test_a_line_twice_is_one_name(files):
    (files / "entity_map.txt").write_text(NAMES + "Berlin\tQ64\nBERLIN\tQ64\n")
    kb = convert(files)
    assert kb.config.aliases == 8
    assert kb.best_entity("Berlin") == ("wikidata:Q64", 1.0)


def test_without_names_mentions_come_from_elsewhere(files):
    kb = convert(files, entity_map=None)
    assert kb.config.linker == "external"
    assert kb.config.aliases == 0
    assert kb["wikidata:Q90"].label == ""


def test_an_entity_without_a_name_keeps_the_others_their_names(files):
    (files / "entity_map.txt").write_text("Berlin\tQ64\n")
    kb = convert(files)
    assert kb.config.linker == "external"
    assert kb.best_entity("Berlin") == ("wikidata:Q64", 1.0)


def test_rows_without_an_id_are_left_out(files):
    (files / "entity2id.txt").write_text("2\nQ1085 4\nQ64 1\n")
    kb = convert(files)
    assert [entity.id for entity in kb] == ["wikidata:Q64", "wikidata:Q1085"]
    assert kb.vectors([0, 1]).tolist() == np.load(files / "transe.npy")[[1, 4]].tolist()


@pytest.mark.parametrize("dtype", ["<f8", "<f2", ">f4"])
def test_other_numbers_become_float32(files, dtype):
    table = np.load(files / "transe.npy").astype(dtype)
    np.save(files / "transe.npy", table)
    assert convert(files).vectors(range(5)).numpy() == pytest.approx(table.astype(np.float32), abs=0)


def test_shards_hold_what_one_file_would(files, monkeypatch):
    whole = convert(files).vectors(range(5))
    monkeypatch.setattr(published, "_SHARD_BYTES", 64)
    kb = convert(files)
    assert len(list((files / "kb").glob("embeddings-*"))) == 3
    assert kb.vectors(range(5)).equal(whole)
    kb.verify()


def test_names_are_read_in_pieces(files, monkeypatch):
    whole = list(convert(files).names())
    monkeypatch.setattr(published, "_LINES", 1)
    assert list(convert(files).names()) == whole


def test_the_array_is_mapped_not_read(files, monkeypatch):
    opened = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda *args, **options: opened.append(load(*args, **options)) or opened[-1])
    convert(files)
    assert any(isinstance(array, np.memmap) for array in opened)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: expected the number of entities"),
        ("Q90 0\n", "line 1: expected the number of entities, found 'Q90 0'"),
        ("2\nQ90 0\n", "declares 2 entities, but 1 follow"),
        ("0\n", "declares 0"),
        ("2\nQ90 0\nQ64\n", "line 3: expected an id and a row, found 'Q64'"),
        ("1\nQ90 -1\n", "line 2: expected an id and a row"),
        ("1\nQ90 5\n", "line 2: row 5, but there are 5 vectors"),
        ("2\nQ90 0\nQ90 1\n", "'Q90' occurs more than once"),
    ],
)
def test_wrong_ids_name_the_line(files, text, said):
    (files / "entity2id.txt").write_text(text)
    with pytest.raises(ArtifactError, match=said):
        convert(files)
    assert not (files / "kb").exists()


def test_wrong_names_name_the_line(files):
    (files / "entity_map.txt").write_text("Paris\tQ90\nBerlin Q64\n")
    with pytest.raises(ArtifactError, match=r"entity_map\.txt, line 2: expected a name, a tab and an id"):
        convert(files)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros(5, np.float32), r"\[rows, dim\]"),
        (np.zeros((5, 8), np.int64), "int64"),
        (np.array([[None, "a"]], dtype=object), "no .npy array"),
        (np.full((5, 8), np.nan, np.float32), "row 0 holds NaN"),
    ],
)
def test_wrong_arrays(files, array, said):
    np.save(files / "transe.npy", array, allow_pickle=True)
    with pytest.raises(ArtifactError, match=said):
        convert(files)
    assert not (files / "kb" / "config.json").exists()


def test_a_missing_file(files):
    (files / "transe.npy").unlink()
    with pytest.raises(ArtifactError, match=r"transe\.npy"):
        convert(files)


def test_a_pickle_is_opened_only_if_that_is_said(files):
    with pytest.raises(ArtifactError, match="allow_pickle=True"):
        read_published_mapping(files / "Affine_5.bin")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}, r"model\.weight and model\.bias"),
        ({"model.weight": torch.zeros(2, 2)}, r"model\.weight and model\.bias"),
        ({"model.weight": torch.zeros(2, 2), "model.bias": 1}, r"model\.weight and model\.bias"),
        ([1, 2], "found list"),
        ({"model.weight": torch.zeros(2, 2), "model.bias": torch.zeros(3)}, r"\[2, 2\] and \[3\]"),
        ({"model.weight": torch.full((2, 2), torch.nan), "model.bias": torch.zeros(2)}, "NaN"),
    ],
)
def test_other_states(tmp_path, state, said):
    torch.save(state, tmp_path / "Affine_1.bin")
    with pytest.raises(ArtifactError, match=said):
        read_published_mapping(tmp_path / "Affine_1.bin", allow_pickle=True)


class Hostile:
    """What a stranger would put into a pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_runs_no_code(tmp_path):
    torch.save({"model.weight": Hostile(str(tmp_path / "broken-in"))}, tmp_path / "Affine_1.bin")
    with pytest.raises(ArtifactError, match="plain tensors"):
        read_published_mapping(tmp_path / "Affine_1.bin", allow_pickle=True)
    assert not (tmp_path / "broken-in").exists()


@pytest.mark.parametrize("data", [b"", b"no pickle at all", b"PK\x03\x04"])
def test_damaged_files(tmp_path, data):
    (tmp_path / "Affine_1.bin").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"torch\.save"):
        read_published_mapping(tmp_path / "Affine_1.bin", allow_pickle=True)


def test_nothing_else_in_the_package_opens_a_pickle():
    package = Path(published.__file__).parents[1]
    opening = [path for path in package.rglob("*.py") if "torch.load(" in path.read_text(encoding="utf-8")]
    assert opening == [Path(published.__file__)]


def test_no_file(tmp_path):
    with pytest.raises(ArtifactError, match="found none"):
        read_published_mapping(tmp_path / "Affine_1.bin", allow_pickle=True)
