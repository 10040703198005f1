"""Whole safetensors files, with sums that the config declares, and other tensors in them than there should be."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from knowledge_plugin import KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import ArtifactError, KnowledgePluginError, MappingError
from tests import tiny
from tests.attacks.hostile import MAPPING, SHARD, edit_config, redeclare, save_kb, save_plugin

NAN = float("nan")


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"vectors": torch.zeros(5, 8)},
        {"embeddings": torch.zeros(5, 8), "extra": torch.zeros(1)},
        {"embeddings": torch.zeros(4, 8)},
        {"embeddings": torch.zeros(6, 8)},
        {"embeddings": torch.zeros(0, 8)},
        {"embeddings": torch.zeros(5, 7)},
        {"embeddings": torch.zeros(5, 0)},
        {"embeddings": torch.zeros(40)},
        {"embeddings": torch.zeros(5, 2, 4)},
        {"embeddings": torch.tensor(0.0)},
        {"embeddings": torch.zeros(5, 8, dtype=torch.float16)},
        {"embeddings": torch.zeros(5, 8, dtype=torch.float64)},
        {"embeddings": torch.zeros(5, 8, dtype=torch.int8)},
        {"embeddings": torch.zeros(5, 8, dtype=torch.bool)},
    ],
    ids=lambda t: str({k: (list(v.shape), str(v.dtype)) for k, v in t.items()}),
)
def test_embeddings_of_another_shape_or_dtype(tmp_path, tensors):
    folder = save_kb(tmp_path)
    save_file(tensors, folder / SHARD)
    redeclare(folder, SHARD)
    with pytest.raises(ArtifactError):
        KnowledgeBase.from_pretrained(folder)


@pytest.mark.parametrize(
    "scales",
    [None, torch.ones(4), torch.ones(6), torch.ones(5, 1), torch.ones(5).half(), torch.ones(5, dtype=torch.int32)],
)
def test_scales_that_do_not_fit(tmp_path, scales):
    folder = save_kb(tmp_path, dtype="int8")
    tensors = load_file(folder / SHARD) | {"scales": scales}
    save_file({k: v for k, v in tensors.items() if v is not None}, folder / SHARD)
    redeclare(folder, SHARD)
    with pytest.raises(ArtifactError):
        KnowledgeBase.from_pretrained(folder)


@pytest.mark.parametrize("value", [NAN, float("inf")])
@pytest.mark.parametrize(("dtype", "name"), [("float32", "embeddings"), ("bfloat16", "embeddings"), ("int8", "scales")])
def test_vectors_that_are_not_finite_are_found_by_verify(tmp_path, dtype, name, value):
    folder = save_kb(tmp_path, dtype=dtype)
    tensors = load_file(folder / SHARD)
    tensors[name][2] = value
    save_file(tensors, folder / SHARD)
    redeclare(folder, SHARD)
    with pytest.raises(ArtifactError, match="'geo:paris' holds NaN or infinite"):
        KnowledgeBase.from_pretrained(folder).verify()


def header(entries, data=b""):
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


HEADERS = {
    "a length beyond the file": struct.pack("<Q", 2**62) + b"{}",
    "offsets beyond the file": header({"embeddings": {"dtype": "F32", "shape": [5, 8], "data_offsets": [0, 160]}}),
    "a gigantic shape": header(
        {"embeddings": {"dtype": "F32", "shape": [2**40, 8], "data_offsets": [0, 160]}}, bytes(160)
    ),
    "an overflowing shape": header({"embeddings": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 0]}}),
    "a negative shape": header(
        {"embeddings": {"dtype": "F32", "shape": [-5, 8], "data_offsets": [0, 160]}}, bytes(160)
    ),
    "offsets that run backwards": header(
        {"embeddings": {"dtype": "F32", "shape": [5, 8], "data_offsets": [160, 0]}}, bytes(160)
    ),
    "an unknown dtype": header(
        {"embeddings": {"dtype": "PICKLE", "shape": [5, 8], "data_offsets": [0, 160]}}, bytes(160)
    ),
    "a list": header([]),
    "deep nesting": struct.pack("<Q", 100_000) + b"[" * 100_000,
}


@pytest.mark.parametrize("kind", HEADERS)
def test_hostile_headers(tmp_path, kind):
    folder = save_kb(tmp_path / "kb")
    (folder / SHARD).write_bytes(HEADERS[kind])
    redeclare(folder, SHARD)
    with pytest.raises(ArtifactError, match="no whole safetensors file"):
        KnowledgeBase.from_pretrained(folder)
    folder = save_plugin(tmp_path / "plugin")
    (folder / MAPPING).write_bytes(HEADERS[kind])
    redeclare(folder, MAPPING)
    with pytest.raises(ArtifactError, match="no whole safetensors file"):
        KnowledgePlugin.from_pretrained(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers.0.weight": torch.zeros(16, 7)},
        {"layers.0.weight": torch.zeros(8, 16)},
        {"layers.0.weight": torch.zeros(16, 8, 1)},
        {"layers.0.bias": torch.zeros(15)},
        {"layers.0.bias": None},
        {"layers.0.weight": None, "layers.0.bias": None},
        {"layers.1.bias": torch.zeros(16)},
        {"layers.0.weight": torch.full((16, 8), NAN)},
        {"layers.0.bias": torch.full((16,), float("-inf"))},
        {"layers.0.weight": torch.zeros(16, 8, dtype=torch.float64)},
        {"layers.0.weight": torch.zeros(16, 8, dtype=torch.int64)},
    ],
    ids=range(11),
)
def test_a_mapping_of_another_shape_or_not_finite(tmp_path, changes):
    folder = save_plugin(tmp_path)
    tensors = load_file(folder / MAPPING) | changes
    save_file({k: v for k, v in tensors.items() if v is not None}, folder / MAPPING)
    redeclare(folder, MAPPING)
    with pytest.raises(MappingError):
        KnowledgePlugin.from_pretrained(folder)


def test_a_mapping_for_vectors_of_another_width(tmp_path):
    folder = save_plugin(tmp_path)
    tiny.knowledge_base(dim=12).save_pretrained(folder / "knowledge_base")
    with pytest.raises(MappingError, match="width 8, but those of the knowledge base 'cities' are 12 wide"):
        KnowledgePlugin.from_pretrained(folder)


def test_a_config_that_declares_another_mapping(tmp_path):
    folder = save_plugin(tmp_path)
    edit_config(folder, mapping__kind="mlp", mapping__hidden_dim=32)
    with pytest.raises(MappingError, match=r"layers\.1\.weight"):
        KnowledgePlugin.from_pretrained(folder)


def test_a_config_that_lists_no_mapping(tmp_path):
    folder = save_plugin(tmp_path)
    edit_config(folder, files={})
    with pytest.raises(KnowledgePluginError, match="mapping"):
        KnowledgePlugin.from_pretrained(folder)
