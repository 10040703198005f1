from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open

from knowledge_plugin.config import FileConfig, KnowledgeBaseConfig
from knowledge_plugin.errors import ArtifactError, KnowledgeBaseError
from knowledge_plugin.knowledge_base import embedding_index
from knowledge_plugin.knowledge_base.embedding_index import EmbeddingIndex, shard_names

DTYPES = ("float32", "float16", "bfloat16", "int8")
TABLE = torch.randn(37, 5, generator=torch.Generator().manual_seed(0))
ALL = torch.arange(37)


def saved(index, folder):
    names = index.save(folder)
    files = {name: FileConfig((folder / name).stat().st_size, "0" * 64) for name in names}
    return KnowledgeBaseConfig("t", len(index), index.dim, 0, index.dtype, files=files)


def check(found, dtype, expected=TABLE):
    assert found.dtype == torch.float32
    if dtype == "int8":
        half_a_step = expected.abs().amax(dim=1, keepdim=True) / 127 / 2
        assert ((found - expected).abs() <= half_a_step * 1.0001).all()
    else:
        assert torch.equal(found, expected.to(getattr(torch, dtype)).float())


@pytest.fixture(params=[2_000_000_000, 100], ids=["one shard", "shards"])
def shard_bytes(request, monkeypatch):
    monkeypatch.setattr(embedding_index, "MAX_SHARD_BYTES", request.param)
    return request.param


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_memory(dtype):
    index = EmbeddingIndex.from_vectors(TABLE, 37, dtype)
    assert len(index) == 37
    assert index.dim == 5
    assert index.dtype == dtype
    check(index.gather(ALL), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_from_a_folder(tmp_path, dtype, shard_bytes):
    index = EmbeddingIndex.from_vectors(TABLE, 37, dtype)
    opened = EmbeddingIndex.open(tmp_path, saved(index, tmp_path))
    assert torch.equal(opened.gather(ALL), index.gather(ALL))
    assert opened.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_shards_are_no_larger_than_they_may_be(tmp_path, dtype, monkeypatch):
    monkeypatch.setattr(embedding_index, "MAX_SHARD_BYTES", 100)
    config = saved(EmbeddingIndex.from_vectors(TABLE, 37, dtype), tmp_path)
    assert len(config.files) > 1
    assert list(config.files) == shard_names(len(config.files))
    for name in config.files:
        with safe_open(tmp_path / name, framework="pt") as file:
            assert sum(file.get_tensor(key).nbytes for key in file.keys()) <= 100  # noqa: SIM118


@pytest.mark.parametrize("dtype", DTYPES)
def test_saving_what_was_opened_changes_nothing(tmp_path, dtype, shard_bytes):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    index = EmbeddingIndex.from_vectors(TABLE, 37, dtype)
    opened = EmbeddingIndex.open(tmp_path / "a", saved(index, tmp_path / "a"))
    again = EmbeddingIndex.open(tmp_path / "b", saved(opened, tmp_path / "b"))
    assert torch.equal(again.gather(ALL), index.gather(ALL))


@pytest.mark.parametrize("rows", [[], [0], [36], [5, 5, 0, 36, 5], list(range(36, -1, -1))])
def test_rows_come_in_the_order_asked_for(tmp_path, rows, shard_bytes):
    opened = EmbeddingIndex.open(tmp_path, saved(EmbeddingIndex.from_vectors(TABLE, 37), tmp_path))
    found = opened.gather(torch.tensor(rows, dtype=torch.int64))
    assert found.shape == (len(rows), 5)
    assert torch.equal(found, TABLE[rows])


def test_into_memory(tmp_path, shard_bytes):
    opened = EmbeddingIndex.open(tmp_path, saved(EmbeddingIndex.from_vectors(TABLE, 37, "int8"), tmp_path))
    before = opened.gather(ALL)
    in_memory = opened.to_memory()
    for path in tmp_path.iterdir():
        path.unlink()
    assert torch.equal(in_memory.gather(ALL), before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_another_order(dtype):
    index, order = EmbeddingIndex.from_vectors(TABLE, 37, dtype), torch.randperm(37)
    reordered = EmbeddingIndex.from_vectors(TABLE, 37, dtype, order.numpy())
    assert torch.equal(reordered.gather(ALL), index.gather(order))
    assert reordered.dtype == dtype


@pytest.mark.parametrize("pieces", [5, 1_000])
@pytest.mark.parametrize("kind", ["float32", "float64", "float16", ">f4"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_of_a_file(dtype, kind, pieces, tmp_path, monkeypatch):
    monkeypatch.setattr("knowledge_plugin.knowledge_base.embedding_index._PIECE", pieces)
    array, order = TABLE.numpy().astype(kind), torch.randperm(37).numpy()
    np.save(tmp_path / "a.npy", array)
    found = EmbeddingIndex.from_vectors(tmp_path / "a.npy", 37, dtype)
    expected = EmbeddingIndex.from_vectors(torch.tensor(array.astype("float32")), 37, dtype)
    assert torch.equal(found.gather(ALL), expected.gather(ALL))
    assert found.is_mapped == (dtype == kind == "float32")
    reordered = EmbeddingIndex.from_vectors(str(tmp_path / "a.npy"), 37, dtype, order)
    assert torch.equal(reordered.gather(ALL), expected.gather(torch.tensor(order)))


def test_unfit_rows_of_a_file_are_named_as_they_stand_there(tmp_path, monkeypatch):
    monkeypatch.setattr("knowledge_plugin.knowledge_base.embedding_index._PIECE", 5)
    array = TABLE.numpy().copy()
    array[[8, 30], 1] = float("nan")
    np.save(tmp_path / "a.npy", array)
    for order in (None, np.arange(37)[::-1].copy()):
        with pytest.raises(KnowledgeBaseError, match=r"row 8 holds NaN .* 2 such rows"):
            EmbeddingIndex.from_vectors(tmp_path / "a.npy", 37, "float32", order)


@pytest.mark.parametrize("content", [b"", b"no array", None])
def test_files_that_hold_no_vectors(content, tmp_path):
    path = tmp_path / ("a.npy" if content is not None else "a.txt")
    path.write_bytes(content or b"1 2 3")
    with pytest.raises(KnowledgeBaseError, match="expected a table of numbers"):
        EmbeddingIndex.from_vectors(path, 37)


@pytest.mark.parametrize("vectors", [TABLE, TABLE.numpy(), TABLE.tolist(), TABLE.double(), TABLE.numpy().astype("f8")])
def test_tensors_arrays_and_lists(vectors):
    assert torch.equal(EmbeddingIndex.from_vectors(vectors, 37).gather(ALL), TABLE)


def test_the_caller_may_change_their_tensor_afterwards():
    mine = TABLE.clone()
    index = EmbeddingIndex.from_vectors(mine, 37)
    mine.zero_()
    assert torch.equal(index.gather(ALL), TABLE)


def test_a_gradient_stays_behind():
    assert not EmbeddingIndex.from_vectors(TABLE.clone().requires_grad_(), 37).gather(ALL).requires_grad


def test_int8_of_a_row_of_zeros():
    table = torch.zeros(2, 3)
    table[1, 0] = 5
    assert torch.equal(EmbeddingIndex.from_vectors(table, 2, "int8").gather(torch.arange(2)), table)


@pytest.mark.parametrize(
    "vectors", [TABLE[:36], TABLE[0], TABLE[None], torch.zeros(37, 0), 5, [], None, "text", [[1], [2, 3]]]
)
def test_another_shape_is_refused(vectors):
    with pytest.raises(KnowledgeBaseError, match="embeddings: expected"):
        EmbeddingIndex.from_vectors(vectors, 37)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_refused(dtype, value):
    table = TABLE.clone()
    table[7, 2] = value
    with pytest.raises(KnowledgeBaseError, match=r"row 7 holds NaN or infinite values .* 1 such"):
        EmbeddingIndex.from_vectors(table, 37, dtype)


def test_what_rounding_makes_infinite_is_refused():
    with pytest.raises(KnowledgeBaseError, match="stored as float16"):
        EmbeddingIndex.from_vectors([[1e5]], 1, "float16")


def test_an_unknown_dtype():
    with pytest.raises(KnowledgeBaseError, match="expected one of float32"):
        EmbeddingIndex.from_vectors(TABLE, 37, "float64")


def test_find_unfit_row(tmp_path):
    assert EmbeddingIndex.from_vectors(TABLE, 37).find_unfit_row() is None
    table = TABLE.clone()
    table[20, 0] = float("nan")
    assert EmbeddingIndex([table]).find_unfit_row() == 20


@pytest.mark.parametrize("change", [{"rows": 36}, {"rows": 38}, {"dim": 4}, {"dtype": "float16"}, {"dtype": "int8"}])
def test_a_config_that_says_otherwise_is_refused(tmp_path, change):
    config = saved(EmbeddingIndex.from_vectors(TABLE, 37), tmp_path)
    with pytest.raises(ArtifactError):
        EmbeddingIndex.open(tmp_path, KnowledgeBaseConfig(**{**vars(config), **change}))


def test_a_shard_that_is_not_listed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_index, "MAX_SHARD_BYTES", 100)
    config = saved(EmbeddingIndex.from_vectors(TABLE, 37), tmp_path)
    del config.files[next(iter(config.files))]
    with pytest.raises(ArtifactError, match="no complete set of shards"):
        EmbeddingIndex.open(tmp_path, config)


def test_numpy_rows_of_other_byte_order():
    assert torch.equal(EmbeddingIndex.from_vectors(np.asarray(TABLE, dtype=">f4"), 37).gather(ALL), TABLE)
