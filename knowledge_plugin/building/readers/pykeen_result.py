"""A folder that PyKEEN's ``result.save_to_directory`` wrote: entity vectors and triples, without running its pickle."""

from __future__ import annotations

import csv
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from knowledge_plugin.building.readers.text import read_lines
from knowledge_plugin.building.readers.vectors import Vectors, check_array
from knowledge_plugin.errors import ReaderError

MODEL, IDS = "trained_model.pkl", "training_triples/entity_to_id.tsv.gz"
_TABLE = ("entity_representations", "0", "_embeddings")
_MAX_PICKLE_BYTES = 2**28
_DTYPES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8"}


def read_pykeen(folder: str | Path) -> Vectors:
    """Map the entity vectors of a PyKEEN result.

    The model's file is a pickle, which could run anything. Here no class and no function that it names is imported
    or called: they become empty husks, and only the place of the one tensor is taken from it.

    Args:
        folder: What ``result.save_to_directory(folder)`` wrote, with model and training triples.

    Returns:
        Ids and floating-point ``[n, dim]``, mapped from disk. Complex vectors are twice as wide: real and imaginary
        part of each number side by side.

    Raises:
        ReaderError: A file is missing or damaged, or the model has no plain table of entity vectors.
    """
    folder = Path(folder)
    array = _entity_table(folder / MODEL)
    check_array(folder / MODEL, array)
    return Vectors(_ids(folder / IDS, len(array)), array)


class _Tensor(NamedTuple):
    """What a pickle of torch says of a tensor: where it lies. The storage is (mark, kind, key, device, count)."""

    storage: tuple[Any, ...]
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Husk:
    """Stands for an object of any class: takes its state, does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Husk:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *args: Any, **kwargs: Any) -> _Husk:
        return _Husk()

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None:
        """Take an item of a list, as unpickling asks."""

    def extend(self, items: Any) -> None:
        """Take items of a list, likewise."""

    def add(self, item: Any) -> None:
        """Take an item of a set, likewise."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: _Tensor(*arguments[:4])
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        return name if name in _DTYPES else _Husk

    def persistent_load(self, pid: Any) -> Any:
        return pid


def _entity_table(path: Path) -> np.ndarray:
    if not path.is_file():
        raise ReaderError(f"{path.parent}: expected what result.save_to_directory writes; there is no {path.name}.")
    try:
        with zipfile.ZipFile(path) as archive:
            return _map_table(path, archive)
    except ReaderError:
        raise
    except Exception as error:  # a damaged pickle raises whatever it stumbled over
        raise ReaderError(f"{path}: expected a whole model of PyKEEN: {error!s:.200}") from error


def _map_table(path: Path, archive: zipfile.ZipFile) -> np.ndarray:
    head = next(info for info in archive.infolist() if info.filename.endswith("/data.pkl"))
    if head.file_size > _MAX_PICKLE_BYTES:
        raise ReaderError(
            f"{path}: expected a model described in {_MAX_PICKLE_BYTES:,} bytes, found {head.file_size:,}."
        )
    with archive.open(head) as file:
        found: Any = _Unpickler(file).load()
    for name in _TABLE:
        found = (_state(found).get("_modules") or {}).get(name)
    weight = (_state(found).get("_parameters") or {}).get("weight")
    if not isinstance(weight, _Tensor):
        raise ReaderError(f"{path}: expected a model with one plain vector for each entity, such as TransE or RotatE.")
    _, kind, key, _, _ = weight.storage
    rows, width = weight.size
    if kind not in _DTYPES or tuple(weight.stride) != (width, 1):
        raise ReaderError(f"{path}: expected a table of floating-point numbers row by row, found {kind!s:.40}.")
    record = archive.getinfo(f"{head.filename.removesuffix('data.pkl')}data/{key}")
    dtype = np.dtype(_DTYPES[kind])
    start = weight.offset * dtype.itemsize
    if (
        record.compress_type != zipfile.ZIP_STORED
        or start < 0
        or start + rows * width * dtype.itemsize > record.file_size
    ):
        raise ReaderError(f"{path}: expected {rows:,} x {width:,} numbers as the model says. Is it damaged?")
    with path.open("rb") as file:
        file.seek(record.header_offset)
        local = file.read(30)  # of the file within the archive; its name and extra field stand before the data
    name_length, extra_length = int.from_bytes(local[26:28], "little"), int.from_bytes(local[28:30], "little")
    data = record.header_offset + 30 + name_length + extra_length
    return np.memmap(path, dtype, "r", data + start, (rows, width))


def _state(module: Any) -> dict[str, Any]:
    state = getattr(module, "state", None)
    return state if isinstance(state, dict) else {}


def _ids(path: Path, count: int) -> list[str]:
    if not path.is_file():
        raise ReaderError(f"{path}: expected the ids of the entities. Save the result with save_training=True.")
    ids: list[str | None] = [None] * count
    for number, line in read_lines(path):
        cells = next(csv.reader([line], delimiter="\t"), [])
        if number == 1 and cells == ["id", "label"]:
            continue
        where = f"{path}:{number}"
        if len(cells) != 2 or not (cells[0].isascii() and cells[0].isdigit()) or not cells[1].strip():
            raise ReaderError(f"{where}: expected a row number, a tab and an id, found {line!r:.80}.")
        if len(cells[0]) > 12 or int(cells[0]) >= count or ids[int(cells[0])] is not None:
            raise ReaderError(f"{where}: expected each row from 0 to {count - 1} once, found {cells[0]:.20}.")
        ids[int(cells[0])] = cells[1]
    missing = ids.count(None)
    if missing:
        raise ReaderError(f"{path}: expected an id for each of {count:,} vectors; {missing:,} have none.")
    known = [id for id in ids if id is not None]
    if len(set(known)) != count:
        raise ReaderError(f"{path}: expected ids that differ; {count - len(set(known)):,} come twice.")
    return known
