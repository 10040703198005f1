from __future__ import annotations

import gzip
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import save_file

from knowledge_plugin.building.readers.vectors import (
    WIKIPEDIA2VEC_ENTITY,
    map_npy,
    read_npy,
    read_safetensors,
    read_word2vec_binary,
    read_word2vec_text,
)
from knowledge_plugin.errors import ReaderError
from tests.building.readers.files import MIB, peak, write

VECTORS = np.array([[1.5, -2, 3e-5], [0, 0.25, 1]], np.float32)
rewrite = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
words = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=8)
tables = st.lists(words, min_size=1, max_size=6, unique=True).flatmap(
    lambda ids: st.tuples(
        st.just(ids),
        arrays(np.float32, (len(ids), 3), elements=st.floats(-1e6, 1e6, width=32)),
    )
)


def as_text(ids: list[str], vectors: np.ndarray, header: bool = True, blank: str = " ") -> str:
    lines = [f"{id}{blank}{' '.join(map(repr, row.tolist()))}\n" for id, row in zip(ids, vectors, strict=True)]
    return (f"{len(ids)} {vectors.shape[1]}\n" if header else "") + "".join(lines)


def as_binary(ids: list[str], vectors: np.ndarray, end: bytes = b"\n") -> bytes:
    rows = zip(ids, vectors, strict=True)
    return f"{len(ids)} {vectors.shape[1]}\n".encode() + b"".join(
        i.encode() + b" " + v.tobytes() + end for i, v in rows
    )


def as_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@rewrite
@given(tables)
def test_what_is_written_as_word2vec_is_read_again(tmp_path, table):
    ids, vectors = table
    for found in (
        read_word2vec_text(write(tmp_path, "a.txt", as_text(ids, vectors))),
        read_word2vec_binary(write(tmp_path, "a.bin", as_binary(ids, vectors))),
        read_word2vec_binary(write(tmp_path, "b.bin", as_binary(ids, vectors, end=b""))),
    ):
        assert found.ids == ids
        assert found.vectors.dtype == np.float32
        np.testing.assert_array_equal(found.vectors, vectors)


@pytest.mark.parametrize(
    "text",
    [as_text(["a", "New York"], VECTORS, header=False), as_text(["a", "New York"], VECTORS, header=False, blank="\t")],
)
def test_without_a_header_and_with_blanks_in_names(tmp_path, text):
    assert read_word2vec_text(write(tmp_path, "a.txt", text)).ids == ["a", "New York"]


def test_only_the_entities_of_wikipedia2vec(tmp_path):
    ids = ["the", "ENTITY/New_York"]
    for read, data in (
        (read_word2vec_text, gzip.compress(as_text(ids, VECTORS).encode(), mtime=0)),
        (read_word2vec_binary, gzip.compress(as_binary(ids, VECTORS), mtime=0)),
    ):
        found = read(write(tmp_path, "a.gz", data), prefix=WIKIPEDIA2VEC_ENTITY)
        assert found.ids == ["New_York"]
        np.testing.assert_array_equal(found.vectors, VECTORS[1:])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one vector, found none"),
        ("2 2\na 1 2\n", "expected 2 rows as line 1 says, found 1"),
        ("1 2\na 1 2\nb 1 2\n", "expected 1 rows as line 1 says, found 2"),
        ("2 2\na 1 2\nb 1\n", ":3: expected a name and 2 numbers, found 1"),
        ("2 2\na 1 2\nb 1 x\n", ":3: expected 2 numbers"),
        ("2 2\na 1 2\nb 1 nan\n", ":3: expected finite"),
        ("2 2\na 1 2\na 1 2\n", ":3: 'a' was there before, in 2"),
        ("2 2\na 1 2\n 1 2\n", ":3: expected a name"),
        ("1000000000 300\na 1 2\n", ":1: the header declares"),
        ("1000000000000000000 2\n", ":1: expected 1 to 2,147,483,647 rows"),
        ("2 1000000\n", ":1: expected 1 to .* width 1 to 65,536"),
        ("0 2\n", ":1: expected 1 to"),
        ("a\n", ":1: expected 1 to .* of width 0"),
    ],
)
def test_wrong_text_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(ReaderError, match=rf"a\.txt.*{message}"):
        read_word2vec_text(write(tmp_path, "a.txt", text))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "header"),
        (b"\x80\x04\x95 a pickle of Wikipedia2Vec", "header"),
        (b"1000000000 300\na " + bytes(1200), "the header declares 1,202,000,000,000 bytes or more"),
        (b"2 2\na " + bytes(8) + b"b " + bytes(7), "row 2: expected 2 rows"),
        (b"1 2\n" + b"a" * 50_000, "row 1: expected 1 rows"),
        (b"1 2\na " + bytes(8) + b"b " + bytes(8), "expected 1 rows as the header says, found more"),
        (b"1 1\n\xff " + bytes(4), "row 1: expected a name in UTF-8"),
        (b"1 1\na " + np.float32("nan").tobytes(), "row 1: expected finite"),
        (b"2 1\na " + bytes(4) + b"a " + bytes(4), "row 2: 'a' was there before, in 1"),
    ],
)
def test_wrong_binary_is_refused_with_its_row(tmp_path, data, message):
    with pytest.raises(ReaderError, match=rf"a\.bin.*{message}"):
        read_word2vec_binary(write(tmp_path, "a.bin", data))


@pytest.mark.parametrize("read", [read_word2vec_text, read_word2vec_binary])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_billion_declared_rows_cost_nothing(tmp_path, read, pack):
    path = write(tmp_path, "a", pack(b"1000000000 100\n" + b"a" + b" 1" * 100 + b"\n"))

    def run() -> None:
        with pytest.raises(ReaderError):
            read(path)

    assert peak(run) < 4 * MIB


def test_text_becomes_an_array_of_its_size(tmp_path):
    vectors = np.arange(5_000 * 50, dtype=np.float32).reshape(-1, 50)
    path = write(tmp_path, "a.txt", as_text([f"w{i}" for i in range(5_000)], vectors))
    assert peak(lambda: read_word2vec_text(path)) < 3 * vectors.nbytes


def test_npy_is_mapped_and_its_ids_lie_beside_it(tmp_path):
    for dtype in (np.float16, np.float32, np.float64):
        path = write(tmp_path, "kb.npy", as_npy(VECTORS.astype(dtype)))
        for name in ("ids.txt", "kb.txt", "elsewhere/names.lst"):
            other = write(tmp_path, name, "a \nb\n\n")
            found = read_npy(path, other if "/" in name else None)
            assert found.ids == ["a", "b"]
            assert isinstance(found.vectors, np.memmap)
            assert found.vectors.dtype == dtype
            other.unlink()
    with pytest.raises(ReaderError, match=r"neither .*kb\.txt nor .*ids\.txt.* into kb\.txt\."):
        read_npy(path)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("a\n", "expected 2 ids, one for each vector, found 1"),
        ("a\nb\nc\n", ":3: expected 2 ids, one for each vector, found more"),
        ("a\n\nb\n", ":2: expected a name"),
        ("a\na\n", ":2: 'a' was there before"),
    ],
)
def test_ids_that_do_not_fit_are_refused_with_their_line(tmp_path, ids, message):
    write(tmp_path, "ids.txt", ids)
    with pytest.raises(ReaderError, match=rf"ids\.txt.*{message}"):
        read_npy(write(tmp_path, "a.npy", as_npy(VECTORS)))


def header(shape: str, kind: str = "<f4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not numpy",
        as_npy(VECTORS)[:-1],
        as_npy(VECTORS)[:40],
        as_npy(np.array([[{"a": 1}, None]], object)),
        pickle.dumps([1, 2]),
        header("(1000000000, 300)") + bytes(1000),
        header("(10000000000000000000000, 30000000)") + bytes(1000),
        header("(-5, 2)") + bytes(1000),
        header("(2, 2", "<f4") + bytes(100),
        header("(1, 2)", "__import__") + bytes(100),
        as_npy(VECTORS[0]),
        as_npy(VECTORS.astype(np.int64)),
        as_npy(np.zeros((0, 3), np.float32)),
        as_npy(np.zeros((2, 70_000), np.float16)),
    ],
    ids=range(15),
)
def test_what_is_no_table_of_numbers_is_refused_in_constant_memory(tmp_path, data):
    path = write(tmp_path, "a.npy", data)

    def run() -> None:
        with pytest.raises(ReaderError, match=r"a\.npy: "):
            map_npy(path)

    assert peak(run) < MIB


def test_an_archive_of_arrays_is_called_so(tmp_path):
    np.savez(tmp_path / "a.npz", VECTORS)
    with pytest.raises(ReaderError, match="found an archive"):
        map_npy(tmp_path / "a.npz")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_safetensors_are_read(tmp_path, dtype):
    write(tmp_path, "ids.txt", "a\nb\n")
    tensor = torch.tensor([[1.5, -2.0], [0.0, 0.25]], dtype=dtype)
    save_file({"vectors": tensor}, tmp_path / "a.safetensors")
    found = read_safetensors(tmp_path / "a.safetensors")
    assert found.ids == ["a", "b"]
    np.testing.assert_array_equal(found.vectors, tensor.float().numpy())


def test_one_of_several_tensors_is_taken_by_name(tmp_path):
    path = tmp_path / "a.safetensors"
    write(tmp_path, "ids.txt", "a\nb\n")
    save_file({"entities": torch.ones(2, 3), "relations": torch.ones(5, 3)}, path)
    assert read_safetensors(path, tensor="entities").vectors.shape == (2, 3)
    for options in ({}, {"tensor": "other"}):
        with pytest.raises(ReaderError, match="found the tensors entities, relations"):
            read_safetensors(path, **options)
    whole = path.read_bytes()
    for data in (b"", whole[:-1], (2**40).to_bytes(8, "little") + whole[8:]):
        with pytest.raises(ReaderError, match="a whole safetensors file"):
            read_safetensors(write(tmp_path, "a.safetensors", data))
