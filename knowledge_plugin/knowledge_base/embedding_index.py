"""The entity vectors: shards of safetensors opened by memory map, rows gathered on demand.

Opening reads headers only. A gathered row comes back as float32 whatever the storage; int8 rows are multiplied by
their scale. The index is no module and no buffer, so that neither ``model.to`` nor a training loop copies it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from knowledge_plugin.config import KnowledgeBaseConfig, StorageDType
from knowledge_plugin.errors import ArtifactError, KnowledgeBaseError
from knowledge_plugin.hub.folder import link_or_copy

_FIVE_DIGITS = "[0-9]" * 5
SHARD_PATTERN = f"embeddings-{_FIVE_DIGITS}-of-{_FIVE_DIGITS}.safetensors"
MAX_SHARD_BYTES = 2_000_000_000
_SMALL_SHARD = 64_000_000
_PIECE = 65_536  # rows looked at together
_EMBEDDINGS, _SCALES = "embeddings", "scales"
_DTYPES: dict[StorageDType, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
}


class ShardFile(NamedTuple):
    """A file that was mapped, by which a shard need not be written again."""

    path: Path
    state: tuple[int, ...]

    @classmethod
    def of(cls, path: Path) -> ShardFile:
        """Return a file as it is now."""
        stat = path.stat()
        return cls(path, (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))

    @property
    def is_unchanged(self) -> bool:
        """Whether the same file lies there still."""
        try:
            return not self.path.is_symlink() and ShardFile.of(self.path) == self
        except OSError:
            return False


class EmbeddingIndex:
    """A table of vectors in one or more shards.

    Args:
        shards: Tensors ``[rows, dim]`` of one dtype, in row order.
        scales: For int8, a float32 tensor ``[rows]`` beside each shard; else ``None``.
        is_mapped: Whether shards are mapped from disk.
        files: The file that a shard is the whole of, ``None`` for one in memory.
    """

    def __init__(
        self,
        shards: Sequence[torch.Tensor],
        scales: Sequence[torch.Tensor] | None = None,
        is_mapped: bool = False,
        files: Sequence[ShardFile | None] | None = None,
    ) -> None:
        self._shards = list(shards)
        self._files = [None] * len(self._shards) if files is None else list(files)
        self.is_mapped = is_mapped
        self._scales = list(scales) if scales is not None else None
        self._ends = torch.tensor([len(shard) for shard in self._shards], device=self.device).cumsum(0)
        self._rows = sum(len(shard) for shard in self._shards)
        self.dim = self._shards[0].shape[1]
        self.dtype = next(name for name, dtype in _DTYPES.items() if dtype == self._shards[0].dtype)

    def __len__(self) -> int:
        return self._rows

    @property
    def device(self) -> torch.device:
        """Where the vectors are."""
        return self._shards[0].device

    @property
    def nbytes(self) -> int:
        """Size of all vectors as they are stored."""
        return sum(tensor.nbytes for tensor in [*self._shards, *(self._scales or [])])

    @classmethod
    def from_vectors(
        cls, vectors: object, rows: int, dtype: StorageDType = "float32", order: np.ndarray | None = None
    ) -> EmbeddingIndex:
        """Check vectors and store them.

        Args:
            vectors: A tensor, array or nested list ``[rows, dim]`` of numbers, or the path of a ``.npy`` file, of which
                only pieces are in memory at a time; it stays mapped where nothing has to be changed.
            rows: How many rows there must be.
            dtype: Storage. int8 keeps a scale per row: the largest magnitude of the row, divided by 127.
            order: int64 ``[rows]``; row ``i`` of the index is row ``order[i]`` of the vectors; ``None`` for row ``i``.

        Raises:
            KnowledgeBaseError: Another number of rows, no table, NaN or infinite values, also after rounding to dtype.
        """
        if dtype not in _DTYPES:
            raise KnowledgeBaseError(f"dtype: expected one of {', '.join(_DTYPES)}, found {dtype!r}.")
        try:
            source = _source(vectors)
        except (TypeError, ValueError, OSError, EOFError) as error:
            raise KnowledgeBaseError(f"embeddings: expected a table of numbers [{rows}, dim]: {error}") from error
        if source.ndim != 2 or source.shape[0] != rows or source.shape[1] == 0:
            raise KnowledgeBaseError(
                f"embeddings: expected one row per entity, [{rows}, dim], found {list(source.shape)}. "
                "Give entities and embeddings in the same order."
            )
        is_file = isinstance(vectors, (str, Path))
        stays = is_file and order is None and dtype == "float32" and source.dtype == np.dtype(np.float32)
        stored = torch.empty(() if stays else source.shape, dtype=_DTYPES[dtype])
        scales, unfit = torch.empty(rows if dtype == "int8" else 0), []
        place = None if order is None else torch.from_numpy(np.argsort(order))
        # Read from front to back, also into another order: pages of a file anywhere would stay in memory.
        for start in range(0, rows, _PIECE):
            piece = slice(start, start + _PIECE)
            table = _float32((_source(vectors) if is_file else source)[piece])
            to = piece if place is None else place[piece]
            finite = table.isfinite().all(dim=1)
            if dtype == "int8":
                scale = table.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / 127
                stored[to], scales[to] = (table / scale[:, None]).round().to(torch.int8), scale
            elif not stays:
                table = table.to(stored.dtype)
                finite, stored[to] = table.isfinite().all(dim=1), table
            unfit += (start + (~finite).nonzero().flatten()).tolist()
        if unfit:
            raise KnowledgeBaseError(
                f"embeddings: row {unfit[0]} holds NaN or infinite values (stored as {dtype}); {len(unfit)} such "
                "rows in all. Remove these entities, or mend their vectors."
            )
        return cls([_float32(source) if stays else stored], [scales] if dtype == "int8" else None, is_mapped=stays)

    @classmethod
    def open(cls, folder: Path, config: KnowledgeBaseConfig) -> EmbeddingIndex:
        """Open the shards of a folder by memory map. Headers are read and compared with the config; rows are not.

        Raises:
            ArtifactError: A shard is missing or no safetensors, or its dtype or shape is not what the config says.
        """
        names = sorted(name for name in config.files if Path(name).match(SHARD_PATTERN))
        if not names or names != shard_names(len(names)):
            raise ArtifactError(f"{folder}: the config lists no complete set of shards {SHARD_PATTERN}: {names[:5]}.")
        shards, scales, files = [], [], []
        for name in names:
            files.append(ShardFile.of(folder / name))
            tensors = open_shard(folder / name, config)
            shards.append(tensors[_EMBEDDINGS])
            scales.append(tensors.get(_SCALES))
        if (rows := sum(len(shard) for shard in shards)) != config.rows:
            raise ArtifactError(f"{folder}: the shards hold {rows} rows, but the config declares {config.rows}.")
        return cls(shards, scales if config.dtype == "int8" else None, True, files)  # type: ignore[arg-type]

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Return vectors as float32 ``[n, dim]`` for row numbers int64 ``[n]``, in range and on the same device."""
        if len(self._shards) == 1:
            return self._gather_shard(0, rows)
        if torch.compiler.is_compiling():
            return self._gather_traced(rows)
        result = torch.empty(len(rows), self.dim, device=rows.device)
        owner = torch.bucketize(rows, self._ends, right=True)
        for shard in owner.unique().tolist():
            mine = owner == shard
            start = int(self._ends[shard - 1]) if shard else 0
            result[mine] = self._gather_shard(shard, rows[mine] - start)
        return result

    def _gather_traced(self, rows: torch.Tensor) -> torch.Tensor:
        """Gather without a step that depends on the rows, which no compiler can trace."""
        result, start = torch.zeros(len(rows), self.dim, device=rows.device), 0
        for i, shard in enumerate(self._shards):
            found = self._gather_shard(i, (rows - start).clamp(0, len(shard) - 1))
            result = torch.where((rows >= start).unsqueeze(1), found, result)
            start += len(shard)
        return result

    def _gather_shard(self, shard: int, rows: torch.Tensor) -> torch.Tensor:
        vectors = self._shards[shard].index_select(0, rows).float()
        return vectors if self._scales is None else vectors * self._scales[shard].index_select(0, rows)[:, None]

    def to_memory(self) -> EmbeddingIndex:
        """Return the same index read into memory, where a first look-up costs no page fault."""
        scales = None if self._scales is None else [scale.clone() for scale in self._scales]
        return EmbeddingIndex([shard.clone() for shard in self._shards], scales)

    def to(self, device: torch.device) -> EmbeddingIndex:
        """Return the same index on another device."""
        scales = None if self._scales is None else [scale.to(device) for scale in self._scales]
        return EmbeddingIndex([shard.to(device) for shard in self._shards], scales)

    def taken(self, rows: torch.Tensor | np.ndarray) -> EmbeddingIndex:
        """Return an index of some rows, by number or as bool ``[rows]``; shards that stay whole stay mapped."""
        chosen = torch.as_tensor(rows)
        if chosen.dtype != torch.bool:
            table, scales = torch.cat(self._shards)[chosen], self._scales and [torch.cat(self._scales)[chosen]]
            return EmbeddingIndex([table], scales)
        pieces = [chosen[end - len(shard) : end] for shard, end in zip(self._shards, self._ends.tolist(), strict=True)]
        whole = [bool(piece.all()) for piece in pieces]
        keep = [i for i, piece in enumerate(pieces) if piece.any()]
        return EmbeddingIndex(
            [self._shards[i] if whole[i] else self._shards[i][pieces[i]] for i in keep],
            self._scales and [self._scales[i] if whole[i] else self._scales[i][pieces[i]] for i in keep],
            is_mapped=self.is_mapped,
            files=[self._files[i] if whole[i] else None for i in keep],
        )

    def with_rows(self, rows: np.ndarray, vectors: EmbeddingIndex, added: EmbeddingIndex) -> EmbeddingIndex:
        """Return an index with other vectors in some rows, and more rows at its end; shards of no such row stay mapped.

        Args:
            rows: Numbers ``[n]`` of the rows that change.
            vectors: Theirs, of the same dtype.
            added: The rows at the end.
        """
        shards, files = list(self._shards), list(self._files)
        scales = None if self._scales is None else list(self._scales)
        owner = torch.bucketize(torch.from_numpy(rows), self._ends, right=True)
        for i in owner.unique().tolist():
            mine = owner == i
            place = torch.from_numpy(rows)[mine] - (int(self._ends[i - 1]) if i else 0)
            shards[i], files[i] = shards[i].index_copy(0, place, vectors._shards[0][mine]), None
            if scales is not None and vectors._scales is not None:
                scales[i] = scales[i].index_copy(0, place, vectors._scales[0][mine])
        if len(added):
            # A small last shard takes them in: a knowledge base that changes every day would be all shards otherwise.
            small = [shards.pop()] if shards[-1].nbytes < _SMALL_SHARD else []
            shards.append(torch.cat([*small, *added._shards]))
            files = [*files[: len(shards) - 1], None]
            if scales is not None and added._scales is not None:
                scales = [*scales[: len(shards) - 1], torch.cat([*scales[len(shards) - 1 :], *added._scales])]
        return EmbeddingIndex(shards, scales, self.is_mapped, files)

    def save(self, folder: Path) -> list[str]:
        """Write shards of at most 2 GB each and return their names; files that are still what was opened are linked."""
        step = max(1, MAX_SHARD_BYTES // (self.dim * self._shards[0].element_size() + 4))
        pieces: list[dict[str, torch.Tensor] | Path] = []
        for i, shard in enumerate(self._shards):
            if (file := self._files[i]) is not None and file.is_unchanged:
                pieces.append(file.path)
                continue
            for start in range(0, len(shard), step):
                piece = {_EMBEDDINGS: shard[start : start + step]}
                if self._scales is not None:
                    piece[_SCALES] = self._scales[i][start : start + step]
                pieces.append(piece)
        names = shard_names(len(pieces))
        for name, written in zip(names, pieces, strict=True):
            if isinstance(written, Path):
                link_or_copy(written, folder / name)
            else:
                save_file({key: value.contiguous() for key, value in written.items()}, folder / name, {"format": "pt"})
        return names

    def find_unfit_row(self) -> int | None:
        """Read everything and return the first row that holds NaN or infinite values, or ``None``."""
        for start in range(0, len(self), _PIECE):
            rows = torch.arange(start, min(start + _PIECE, len(self)))
            finite = self.gather(rows).isfinite().all(dim=1)
            if not bool(finite.all()):
                return start + int((~finite).nonzero()[0])
        return None


def _source(vectors: object) -> np.ndarray | torch.Tensor:
    if isinstance(vectors, torch.Tensor):
        return vectors.detach().to("cpu")
    if isinstance(vectors, (str, Path)):
        if Path(vectors).suffix != ".npy":
            raise ValueError(f"found the path {str(vectors)!r}, which is no .npy file")
        array = np.load(vectors, mmap_mode="c", allow_pickle=False)
    else:
        array = np.asarray(vectors)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"found an array of {array.dtype}")
    return array


def _float32(table: np.ndarray | torch.Tensor) -> torch.Tensor:
    if isinstance(table, torch.Tensor):
        return table.to(torch.float32)
    # Other byte orders, strides and read-only arrays are nothing for torch; this copies only those.
    return torch.from_numpy(np.require(table, np.float32, ["C", "W"]))


def shard_names(n: int) -> list[str]:
    """Return the file names of ``n`` shards."""
    return [f"embeddings-{i:05d}-of-{n:05d}.safetensors" for i in range(1, n + 1)]


def open_shard(path: Path, config: KnowledgeBaseConfig) -> Mapping[str, torch.Tensor]:
    """Return the tensors of one shard, mapped from disk.

    Raises:
        ArtifactError: The file is no safetensors file, or holds other tensors than the config declares.
    """
    expected = {_EMBEDDINGS: (config.dtype, 2)} | ({_SCALES: ("float32", 1)} if config.dtype == "int8" else {})
    try:
        with safe_open(path, framework="pt") as file:
            if set(file.keys()) != set(expected):
                raise ArtifactError(
                    f"{path}: expected the tensors {sorted(expected)}, found {sorted(file.keys())[:5]}."
                )
            tensors = {key: file.get_tensor(key) for key in expected}
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is no whole safetensors file: {error}. Download or save it again.") from error
    for key, (dtype, ndim) in expected.items():
        tensor = tensors[key]
        if tensor.dtype != _DTYPES[dtype] or tensor.ndim != ndim or len(tensor) != len(tensors[_EMBEDDINGS]):
            raise ArtifactError(f"{path}: {key}: expected {ndim}-D {dtype}, found {list(tensor.shape)} {tensor.dtype}.")
    if tensors[_EMBEDDINGS].shape[1] != config.dim:
        raise ArtifactError(
            f"{path}: vectors are {tensors[_EMBEDDINGS].shape[1]} wide, but the config declares {config.dim}."
        )
    return tensors
