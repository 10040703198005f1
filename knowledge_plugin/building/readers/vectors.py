"""Vectors that others made: word2vec and Wikipedia2Vec, ``.npy`` and safetensors with a list of ids."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from knowledge_plugin.building.readers.fields import MAX_NAME_CHARS
from knowledge_plugin.building.readers.text import is_packed, open_unpacked, read_lines
from knowledge_plugin.config import MAX_ROWS, MAX_WIDTH
from knowledge_plugin.errors import ReaderError

WIKIPEDIA2VEC_ENTITY = "ENTITY/"


class Vectors(NamedTuple):
    """Ids, and a vector for each: ``[n, dim]``, mapped from disk where the format allows it."""

    ids: list[str]
    vectors: np.ndarray


def read_word2vec_text(path: str | Path, *, prefix: str = "") -> Vectors:
    """Read vectors in word2vec's text format, also GloVe's (no header) and Wikipedia2Vec's (a tab after the name).

    Args:
        path: The file, also packed.
        prefix: Only the rows whose id begins so, and without it. Wikipedia2Vec marks entities with ``"ENTITY/"``.

    Returns:
        Ids and float32 ``[n, dim]``, in memory: text cannot be mapped.

    Raises:
        ReaderError: With file and line: another number of values than before, something that is no number, an id
            that is blank or comes twice, or other rows than the header declares.
    """
    data, ids, dim = bytearray(), dict[str, int](), 0
    declared: int | None = None
    count = number = 0
    for number, line in read_lines(path):
        if number == 1 and (header := _header(line)):
            declared, dim = header
            _check_shape(f"{path}:1", declared, dim)
            _check_room(path, f"{path}:1", declared * dim * 2)  # a digit and a blank
            continue
        if not line.strip():
            continue
        where = f"{path}:{number}"
        count += 1
        id, values = _split(line, dim)
        if dim == 0:
            dim = len(values)
            _check_shape(where, 1, dim)
        if not id.startswith(prefix):
            continue
        vector = _numbers(where, values, dim)
        _add(ids, id[len(prefix) :], number, where)
        data += vector.tobytes()
    if declared is not None and count != declared:
        raise ReaderError(f"{path}: expected {declared:,} rows as line 1 says, found {count:,}. Is it cut off?")
    return _finish(path, ids, data, dim, prefix)


def _header(line: str) -> tuple[int, int] | None:
    cells = line.split()
    if len(cells) == 2 and all(cell.isascii() and cell.isdigit() and len(cell) < 100 for cell in cells):
        return int(cells[0]), int(cells[1])
    return None


def _split(line: str, dim: int) -> tuple[str, list[str]]:
    if "\t" in line:
        id, _, values = line.partition("\t")
        return id, values.split()
    id, *cells = line.rstrip().split(" ")
    if dim and len(cells) > dim:  # names of GloVe's larger files hold blanks
        id, *cells = line.rstrip().rsplit(" ", dim)
    return id, cells


def _numbers(where: str, cells: list[str], dim: int) -> np.ndarray:
    if len(cells) != dim:
        raise ReaderError(f"{where}: expected a name and {dim} numbers, found {len(cells)} numbers.")
    try:
        vector = np.array(list(map(float, cells)), np.float32)  # four times as fast as numpy's own reading of texts
    except ValueError as error:
        raise ReaderError(f"{where}: expected {dim} numbers: {error!s:.100}.") from None
    if not np.isfinite(vector).all():
        raise ReaderError(f"{where}: expected finite numbers, found NaN or infinity.")
    return vector


def _add(ids: dict[str, int], id: str, number: int, where: str) -> None:
    if not id.strip():
        raise ReaderError(f"{where}: expected a name before the numbers, found none.")
    if (first := ids.setdefault(id, number)) != number:
        raise ReaderError(f"{where}: {id!r:.80} was there before, in {first}.")


def read_word2vec_binary(path: str | Path, *, prefix: str = "") -> Vectors:
    """Read vectors in word2vec's binary format (``"n dim"``, then name, blank and float32 values of each row).

    Arguments, result and errors as for :func:`read_word2vec_text`; places are rows instead of lines.
    """
    data, ids = bytearray(), dict[str, int]()
    with open_unpacked(path) as file:
        line = file.readline(100)
        header = _header(line.decode("ascii", "replace")) if line.endswith(b"\n") else None
        if header is None:
            raise ReaderError(f"{path}: expected word2vec's header, number of rows and width, found {line!r:.60}.")
        count, dim = header
        _check_shape(str(path), count, dim)
        _check_room(path, str(path), count * (dim * 4 + 2))
        buffer, place = b"", 0
        for row in range(1, count + 1):
            where = f"{path}: row {row}"
            # As much ahead as the longest name and its vector can take.
            if len(buffer) - place < 4 * (MAX_NAME_CHARS + dim + 1):
                buffer, place = buffer[place:] + file.read(max(2**20, 8 * (MAX_NAME_CHARS + dim))), 0
            end = buffer.find(b" ", place, place + 4 * MAX_NAME_CHARS)
            if end < 0 or len(buffer) < end + 1 + 4 * dim:
                raise ReaderError(
                    f"{where}: expected {count:,} rows as the header says. The file is cut off or damaged."
                )
            try:
                id = buffer[place:end].decode("utf-8").lstrip("\n")
            except UnicodeDecodeError as error:
                raise ReaderError(f"{where}: expected a name in UTF-8: {error}.") from None
            place = end + 1 + 4 * dim
            if not id.startswith(prefix):
                continue
            raw = buffer[end + 1 : place]
            if not np.isfinite(np.frombuffer(raw, "<f4")).all():
                raise ReaderError(f"{where}: expected finite numbers, found NaN or infinity.")
            _add(ids, id[len(prefix) :], row, where)
            data += raw
        if (buffer[place:] + file.read(2)).strip():
            raise ReaderError(f"{path}: expected {count:,} rows as the header says, found more.")
    return _finish(path, ids, data, dim, prefix)


def _finish(path: str | Path, ids: dict[str, int], data: bytearray, dim: int, prefix: str) -> Vectors:
    if not ids:
        wanted = f" whose name begins with {prefix!r}" if prefix else ""
        raise ReaderError(f"{path}: expected at least one vector{wanted}, found none.")
    return Vectors(list(ids), np.frombuffer(data, "<f4").reshape(len(ids), dim))


def read_npy(path: str | Path, ids: str | Path | None = None) -> Vectors:
    """Map the vectors of a ``.npy`` file.

    Args:
        path: The file, ``[n, dim]``.
        ids: A text file with an id on each line, row for row. ``None``: the file of the same name with ``.txt`` at
            its end, or ``ids.txt`` beside it.

    Raises:
        ReaderError: No such file, no 2-D array of floating-point numbers, shorter than its header declares, Python
            objects in it (never loaded), or another number of ids.
    """
    array = map_npy(path)
    return Vectors(_ids_of(Path(path), ids, len(array)), array)


def map_npy(path: str | Path) -> np.ndarray:
    """Map a 2-D array of floating-point numbers from a ``.npy`` file, without reading it.

    Raises:
        ReaderError: As for :func:`read_npy`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy only warns of sizes beyond its integers
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header raises whatever numpy's parser stumbled over
        raise ReaderError(f"{path}: expected a whole .npy file: {error!s:.200}") from error
    if not isinstance(array, np.ndarray):  # an archive of several
        raise ReaderError(f"{path}: expected one array (.npy), found an archive (.npz). Save the array by itself.")
    check_array(path, array)
    return array


def read_safetensors(path: str | Path, ids: str | Path | None = None, *, tensor: str | None = None) -> Vectors:
    """Map the vectors of a safetensors file; bfloat16, which numpy does not have, is turned into float32 in memory.

    Args:
        path: The file.
        ids: As for :func:`read_npy`.
        tensor: Which tensor. ``None``: the only one.

    Raises:
        ReaderError: As for :func:`read_npy`, or several tensors and no name.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys())
            if tensor not in names if tensor is not None else len(names) != 1:
                raise ReaderError(f"{path}: found the tensors {', '.join(names)!s:.300}. Type: tensor='...'")
            values = file.get_tensor(tensor or names[0])
    except (OSError, SafetensorError) as error:
        raise ReaderError(f"{path}: expected a whole safetensors file: {error!s:.200}") from error
    array = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    check_array(path, array)
    return Vectors(_ids_of(Path(path), ids, len(array)), array)


def check_array(path: str | Path, array: np.ndarray) -> None:
    """Raise :class:`ReaderError` unless the array is 2-D, of floating-point numbers, and within bounds."""
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ReaderError(f"{path}: expected floating-point numbers [n, dim], found {list(array.shape)} {array.dtype}.")
    _check_shape(str(path), *array.shape)


def _check_shape(where: str, rows: int, dim: int) -> None:
    if not (1 <= rows <= MAX_ROWS and 1 <= dim <= MAX_WIDTH):
        raise ReaderError(
            f"{where}: expected 1 to {MAX_ROWS:,} rows of width 1 to {MAX_WIDTH:,}, found {rows:,} of width {dim:,}."
        )


def _check_room(path: str | Path, where: str, least: int) -> None:
    """Refuse a header that declares more than the file can hold. Of a packed one nobody knows before its end."""
    size = Path(path).stat().st_size
    if least > size and not is_packed(path):
        raise ReaderError(f"{where}: the header declares {least:,} bytes or more, but the file has {size:,}.")


def _ids_of(path: Path, ids: str | Path | None, count: int) -> list[str]:
    if ids is None:
        candidates = [path.with_suffix(".txt"), path.parent / "ids.txt"]
        ids = next((candidate for candidate in candidates if candidate.is_file()), None)
        if ids is None:
            tried = " nor ".join(str(candidate) for candidate in candidates)
            raise ReaderError(
                f"{path}: expected a list of ids beside it, found neither {tried}. Put them, one a line, in the order "
                f"of the vectors, into {candidates[0].name}. (In Python, the reader also takes ids=PATH.)"
            )
    return read_ids(ids, count)


def read_ids(path: str | Path, count: int) -> list[str]:
    """Read a list of ``count`` ids, one on each line.

    Raises:
        ReaderError: With file and line: more or fewer ids, a blank one, or one that was there before.
    """
    ids: dict[str, int] = {}
    for number, id in _stripped(path):
        where = f"{path}:{number}"
        if number > count:
            raise ReaderError(f"{where}: expected {count:,} ids, one for each vector, found more.")
        _add(ids, id, number, where)
    if len(ids) != count:
        raise ReaderError(f"{path}: expected {count:,} ids, one for each vector, found {len(ids):,}.")
    return list(ids)


def _stripped(path: str | Path) -> Iterator[tuple[int, str]]:
    """Lines without blanks at their ends; blank lines at the end of the file are no lines."""
    blank: int | None = None
    for number, line in read_lines(path):
        if not line.strip():
            blank = blank or number
            continue
        if blank is not None:
            yield blank, ""
        yield number, line.strip()
