"""What the published code of map-tuning leaves behind: TransE vectors, ids, names, and mapping networks.

The code of Zhang et al. (2023) keeps knowledge in ``transe.npy``, ``entity2id.txt`` and ``entity_map.txt``, and each
mapping network in ``Affine_<epoch>.bin``, which is a pickle. This is the one place of the package that opens a
pickle, and only if it is told to.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from safetensors.torch import save_file

from knowledge_plugin.config import CONFIG_NAME, MAX_MAPPING_WEIGHTS, KnowledgeBaseConfig, to_json
from knowledge_plugin.errors import ArtifactError
from knowledge_plugin.hub.card import write_card
from knowledge_plugin.hub.folder import describe_files, staged
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.knowledge_base.embedding_index import SHARD_PATTERN, shard_names
from knowledge_plugin.knowledge_base.normalization import normalize
from knowledge_plugin.knowledge_base.tables import Tables

# A shard passes through memory, so it is smaller than a shard may be.
_SHARD_BYTES = 2**27
_LINES = 2**18
_WEIGHT, _BIAS = "model.weight", "model.bias"


def convert_published_vectors(
    vectors: str | Path,
    entity2id: str | Path,
    folder: str | Path,
    *,
    entity_map: str | Path | None = None,
    name: str,
    id_scheme: str = "wikidata",
    license: str | None = None,
    version: str | None = None,
) -> KnowledgeBase:
    """Make a knowledge base of the published vectors, without ever holding all of them in memory.

    Args:
        vectors: ``transe.npy``, an array ``[rows, dim]`` of floating-point numbers. Rows without an id are left out.
        entity2id: ``entity2id.txt``: how many entities there are, then a line ``Q42 17`` for each: id and row.
        folder: Where the knowledge base is written; see :meth:`KnowledgeBase.save_pretrained`.
        entity_map: ``entity_map.txt``, lines of a name, a tab and an id. Without it, and as long as an entity lacks a
            name, mentions must come from elsewhere (``linker="external"``); those that have one can still be linked:
            ``plugin.attach(..., linker=DictionaryLinker(kb))``. Entities that share a name share its prior evenly.
        name: What the knowledge base is called, for people.
        id_scheme: What the ids mean; ``Q42`` becomes ``wikidata:Q42``.
        license: Licence of the knowledge.
        version: Version or dump date.

    Returns:
        The knowledge base, opened from the folder. Its rows are in the order of those of the array.

    Raises:
        ArtifactError: A file is not what it should be. The message names the line.
        SaveError: The folder cannot be written.
    """
    table = _open_array(Path(vectors))
    ids, source = _read_ids(Path(entity2id), len(table), id_scheme)
    with staged(folder, replaces=(SHARD_PATTERN,)) as beside:
        files = _write_shards(table, source, beside, Path(vectors))
        del source
        names, rows = _read_names(entity_map, ids, id_scheme)
        labels, shares = _labels(names, rows, len(ids)), _shares(names, rows)
        entities = pa.table({"id": ids, "label": labels.fill_null("")})
        aliases = pa.table({"alias": names, "row": rows, "prior": pa.array(shares, pa.float32())})
        files += Tables(entities, aliases).save(beside)
        config = KnowledgeBaseConfig(
            name=name,
            rows=len(ids),
            dim=table.shape[1],
            aliases=len(names),
            id_scheme=id_scheme,
            license=license,
            version=version,
            linker="external" if labels.null_count else "dictionary",
            files=describe_files(beside, files),
        )
        write_card(beside, Path(folder), "knowledge_base.md.j2", config=config)
        (beside / CONFIG_NAME).write_text(to_json(config), encoding="utf-8")
    return KnowledgeBase.from_pretrained(folder)


def read_published_mapping(path: str | Path, *, allow_pickle: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a mapping network that the published code trained.

    Args:
        path: ``Affine_<epoch>.bin``, what ``torch.save`` made of a state of one linear layer.
        allow_pickle: Must be true. Such a file is a pickle; it is read by PyTorch's ``weights_only`` unpickler, which
            builds tensors and nothing else, but a file that only JSON and safetensors had to be trusted for would be
            better. Say it of files from a source that you trust.

    Returns:
        Weight ``[output_dim, input_dim]`` and bias ``[output_dim]``, float32.

    Raises:
        ArtifactError: It was not allowed, or the file is no such mapping network.
    """
    path = Path(path)
    if allow_pickle is not True:
        raise ArtifactError(
            f"{path} is a pickle, which this package does not open by itself. If you trust where it comes from, type: "
            "allow_pickle=True. It is then read with PyTorch's weights_only."
        )
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a file such as Affine_5.bin, found none.")
    if path.stat().st_size > 8 * MAX_MAPPING_WEIGHTS:
        raise ArtifactError(f"{path} has {path.stat().st_size} bytes, too many for a mapping network.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what damaged bytes raise in an unpickler can be anything
        first = str(error).strip().split("\n")[0]
        raise ArtifactError(f"{path} is not what torch.save makes of plain tensors: {first:.300}") from error
    found = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)} if isinstance(state, dict) else {}
    if not isinstance(state, dict) or set(state) != {_WEIGHT, _BIAS} or set(found) != {_WEIGHT, _BIAS}:
        what = sorted(map(str, state))[:5] if isinstance(state, dict) else type(state).__name__
        raise ArtifactError(f"{path}: expected the tensors {_WEIGHT} and {_BIAS} of the affine mapping, found {what}.")
    weight, bias = found[_WEIGHT].detach().float(), found[_BIAS].detach().float()
    if weight.dim() != 2 or bias.shape != weight.shape[:1] or not bool(weight.isfinite().all() & bias.isfinite().all()):
        raise ArtifactError(
            f"{path}: expected finite numbers [outputs, inputs] and [outputs], found {list(weight.shape)} and "
            f"{list(bias.shape)}, or NaN or infinity among them."
        )
    return weight, bias


def _open_array(path: Path) -> np.ndarray:
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(f"{path} is no .npy array that can be mapped: {error}") from error
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.dtype.kind != "f" or 0 in table.shape:
        found = f"{list(table.shape)} of {table.dtype}" if isinstance(table, np.ndarray) else type(table).__name__
        raise ArtifactError(f"{path}: expected an array [rows, dim] of floating-point numbers, found {found}.")
    return table


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line that is not blank."""
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path} is no text in UTF-8: {error}") from error


def _read_ids(path: Path, count: int, scheme: str) -> tuple[pa.Array, np.ndarray]:
    """Return ids, and the row of each in the array of vectors, in the order of these rows."""
    lines = _lines(path)
    number, line = next(lines, (1, ""))
    if not line.strip().isdecimal():
        raise ArtifactError(f"{path}, line {number}: expected the number of entities, found {line.strip()!r:.80}.")
    declared, rows = int(line), array("q")
    chunks: list[pa.Array] = []
    ids: list[str] = []
    for number, line in lines:
        parts = line.split()
        if len(parts) != 2 or not parts[1].isdecimal():
            raise ArtifactError(f"{path}, line {number}: expected an id and a row, found {line.strip()!r:.80}.")
        if int(parts[1]) >= count:
            raise ArtifactError(f"{path}, line {number}: row {parts[1]}, but there are {count} vectors.")
        ids.append(f"{scheme}:{parts[0]}")
        rows.append(int(parts[1]))
        if len(ids) == _LINES:
            chunks.append(pa.array(ids, pa.string()))
            ids = []
    every = pa.chunked_array([*chunks, pa.array(ids, pa.string())], pa.string())
    if len(every) != declared or declared == 0:
        raise ArtifactError(f"{path}: line 1 declares {declared} entities, but {len(every)} follow.")
    if pc.count_distinct(every).as_py() != declared:
        counts = pc.value_counts(every.combine_chunks())
        twice = counts.field(0)[pc.index(pc.greater(counts.field(1), 1), True).as_py()].as_py()
        raise ArtifactError(f"{path}: the id {twice.removeprefix(scheme + ':')!r:.80} occurs more than once.")
    source = np.asarray(rows)
    order = np.argsort(source, kind="stable")
    ids_in_order = every.take(pa.array(order)).combine_chunks()
    del every, chunks
    pa.default_memory_pool().release_unused()
    return ids_in_order, source[order]


def _read_names(path: str | Path | None, ids: pa.Array, scheme: str) -> tuple[pa.Array, np.ndarray]:
    """Return names and the row of each, in the order of rows; names of entities that are not there are left out."""
    found: list[pa.Array] = [pa.array([], pa.string())]
    rows: list[np.ndarray] = [np.empty(0, np.int64)]
    names: list[str] = []
    owners: list[str] = []

    def keep() -> None:
        owner = pc.index_in(pa.array(owners, pa.string()), value_set=ids)
        found.append(pa.array(names, pa.string()).filter(owner.is_valid()))
        rows.append(owner.drop_null().to_numpy().astype(np.int64))
        names.clear()
        owners.clear()
        pa.default_memory_pool().release_unused()

    for number, line in _lines(Path(path)) if path is not None else ():
        parts = line.rstrip("\r\n").split("\t")
        if len(parts) < 2:
            raise ArtifactError(f"{path}, line {number}: expected a name, a tab and an id, found {parts[0]!r:.80}.")
        if parts[0].strip():
            names.append(parts[0])
            owners.append(f"{scheme}:{parts[-1].strip()}")
        if len(names) == 4 * _LINES:  # each time, a table of all ids is built
            keep()
    keep()
    texts, row = pa.concat_arrays(found), np.concatenate(rows)
    order = np.argsort(row, kind="stable")
    texts, row = texts.take(pa.array(order)), row[order]
    # The same line twice says nothing new.
    hashes = _hashes(texts, str)
    order = np.lexsort((hashes, row))
    once = np.sort(order[_first_of(hashes[order], row[order])])
    return texts.take(pa.array(once)), row[once]


def _labels(names: pa.Array, rows: np.ndarray, count: int) -> pa.Array:
    """Return the first name of each of ``count`` entities, null for those without one."""
    named, first = np.unique(rows, return_index=True)
    place = np.full(count, -1)
    place[named] = first
    return names.take(pa.array(place, mask=place < 0))


def _shares(names: pa.Array, rows: np.ndarray) -> np.ndarray:
    """Return the prior of each name: one through the number of those that bear it, in whatever case."""
    keys = _hashes(names, lambda name: normalize(name, "insensitive"))
    order = np.lexsort((rows, keys))
    keys, rows = keys[order], rows[order]
    group = np.cumsum(_first_of(keys)) - 1
    bearers = np.bincount(group[_first_of(keys, rows)])
    shares = np.empty(len(order))
    shares[order] = 1 / bearers[group]
    return shares


def _hashes(texts: pa.Array, key: Callable[[str], str]) -> np.ndarray:
    """Return a number of 64 bits for each text, which some millions of texts do not share by chance."""
    parts = (texts.slice(start, _LINES).to_pylist() for start in range(0, len(texts), _LINES))
    return np.fromiter((hash(key(text)) for part in parts for text in part), np.int64, len(texts))


def _first_of(*columns: np.ndarray) -> np.ndarray:
    """Say of each place of sorted columns whether anything differs there from the place before."""
    differs = np.zeros(len(columns[0]), bool)
    differs[:1] = True
    for column in columns:
        differs[1:] |= column[1:] != column[:-1]
    return differs


def _write_shards(table: np.ndarray, source: np.ndarray, folder: Path, path: Path) -> list[str]:
    step = max(1, _SHARD_BYTES // (4 * table.shape[1]))
    starts = range(0, len(source), step)
    names = shard_names(len(starts))
    for name, start in zip(names, starts, strict=True):
        rows = source[start : start + step]
        shard = torch.from_numpy(np.ascontiguousarray(table[rows], np.float32))
        finite = shard.isfinite().all(dim=1)
        if not bool(finite.all()):
            bad = int(rows[int((~finite).nonzero()[0])])
            raise ArtifactError(f"{path}: row {bad} holds NaN or infinite values.")
        save_file({"embeddings": shard}, folder / name, {"format": "pt"})
    return names
