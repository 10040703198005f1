"""What can be wrong with a knowledge base. Of its contents, only a few megabytes are in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from knowledge_plugin.config import CONFIG_NAME, MAX_ROWS, KnowledgeBaseConfig
from knowledge_plugin.errors import ArtifactError
from knowledge_plugin.knowledge_base.columns import to_columns
from knowledge_plugin.knowledge_base.embedding_index import SHARD_PATTERN, EmbeddingIndex, open_shard, shard_names
from knowledge_plugin.knowledge_base.tables import ALIASES_NAME, ENTITIES_NAME, Tables, alias_table, entity_table
from knowledge_plugin.verification.files import check_files, read
from knowledge_plugin.verification.findings import Findings

_VALUES_AT_ONCE = 2**22  # of the vectors: 16 MB
_ROWS_AT_ONCE = 8_192
_MAX_GROUP_BYTES, _MAX_BATCH_BYTES = 2**31, 2**28
_MAX_REPEATED = 100_000


def check_knowledge_base(folder: Path, findings: Findings) -> KnowledgeBaseConfig | None:
    """Check a knowledge base and return its config, ``None`` if that cannot be read.

    Raises:
        ArtifactError: The folder holds something else.
    """
    config = read(folder, KnowledgeBaseConfig, findings)
    if config is None:
        present = {name for name in (ENTITIES_NAME, ALIASES_NAME) if (folder / name).is_file()}
    else:
        for name in (ENTITIES_NAME, ALIASES_NAME):
            if name not in config.files:
                findings.error(CONFIG_NAME, f"expected it to list {name}, found {sorted(config.files)[:5]}.")
        present = check_files(folder, config.files, findings)
        _check_vectors(folder, config, present, findings)
        if not config.license:
            findings.warning(
                CONFIG_NAME, "it states no licence of the knowledge: nobody knows what they may do with it."
            )
    rows = config.rows if config is not None else None
    if ENTITIES_NAME in present:
        rows = _check_entities(folder, rows, findings)
    if ALIASES_NAME in present:
        _check_aliases(folder, config, rows, findings)
    return config


def _check_vectors(folder: Path, config: KnowledgeBaseConfig, present: set[str], findings: Findings) -> None:
    names = sorted(name for name in config.files if Path(name).match(SHARD_PATTERN))
    if not names or names != shard_names(len(names)):
        findings.error(CONFIG_NAME, f"it lists no complete set of shards {SHARD_PATTERN}: {names[:5]}.")
    lengths: list[int] = []
    for name in sorted(set(names) & present):
        with findings.catching(name):
            tensors = open_shard(folder / name, config)
            index = EmbeddingIndex([tensors["embeddings"]], [tensors["scales"]] if "scales" in tensors else None)
            lengths.append(len(index))
            unfit = _Tally()
            for row in _unfit_rows(index):
                unfit.add(f"row {row} of this shard")
            unfit.report(findings, name, "vectors hold NaN or infinite values")
    if len(lengths) == len(names) and sum(lengths) != config.rows:
        findings.error(CONFIG_NAME, f"it declares {config.rows} entities, but the shards hold {sum(lengths)} vectors.")


def _unfit_rows(index: EmbeddingIndex) -> Iterator[int]:
    step = max(1, _VALUES_AT_ONCE // index.dim)
    for start in range(0, len(index), step):
        finite = index.gather(torch.arange(start, min(start + step, len(index)))).isfinite().all(dim=1)
        yield from (start + row for row in (~finite).nonzero().flatten().tolist())


def _check_entities(folder: Path, declared: int | None, findings: Findings) -> int | None:
    """Check the entity table and return its length, as it is if it can be read, else as the config declares it."""
    path = folder / ENTITIES_NAME
    with findings.catching(ENTITIES_NAME):
        rows, _ = Tables(path, alias_table(to_columns([]))).counts  # whole Parquet, columns and their types
        if declared not in (None, rows):
            findings.error(ENTITIES_NAME, f"the config declares {declared} entities, but the table holds {rows}.")
        empty, cut, repeated = _Tally(), _Tally(), _Tally()
        start = 0
        for batch in _batches(path):
            ids = batch["id"].to_pylist()
            for row, entity_id in enumerate(ids, start):
                if entity_id is None or not entity_id.strip():
                    empty.add(f"that of row {row}")
                elif "\0" in entity_id:
                    cut.add(f"{entity_id!r:.80}")
            start += len(ids)
        for entity_id, times in _repeated(path):
            repeated.add(f"{entity_id!r:.80} {times} times")
        empty.report(findings, ENTITIES_NAME, "ids are empty")
        cut.report(findings, ENTITIES_NAME, "ids hold a NUL character")
        repeated.report(findings, ENTITIES_NAME, "ids occur more than once")
        return rows
    return declared


def _repeated(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the ids that occur more than once, and how often; a number for each id is all that is in memory."""

    def ids() -> Iterator[str]:
        for batch in _batches(path, ["id"]):
            yield from (entity_id for entity_id in batch["id"].to_pylist() if entity_id)

    hashes = np.fromiter(map(hash, ids()), np.int64)
    hashes.sort()
    suspects = set(np.unique(hashes[1:][hashes[1:] == hashes[:-1]])[:_MAX_REPEATED].tolist())
    if suspects:
        times = Counter(entity_id for entity_id in ids() if hash(entity_id) in suspects)
        yield from ((entity_id, n) for entity_id, n in times.items() if n > 1)


def _check_aliases(folder: Path, config: KnowledgeBaseConfig | None, rows: int | None, findings: Findings) -> None:
    path = folder / ALIASES_NAME
    with findings.catching(ALIASES_NAME):
        _, count = Tables(entity_table(to_columns([])), path).counts
        if config is not None and count != config.aliases:
            findings.error(ALIASES_NAME, f"the config declares {config.aliases} names, but the table holds {count}.")
        astray, priors, empty = _Tally(), _Tally(), _Tally()
        named = np.zeros(rows or 0, bool)
        for batch in _batches(path):
            names, row, prior = batch["alias"], _numbers(batch["row"], -1), _numbers(batch["prior"], np.nan)
            is_astray = (row < 0) | (row >= (rows if rows is not None else MAX_ROWS))
            if rows is not None:
                named[row[~is_astray]] = True
            for i in is_astray.nonzero()[0]:
                astray.add(f"{names[i].as_py()!r:.80} to row {row[i]}")
            for i in (~((prior >= 0) & (prior <= 1))).nonzero()[0]:  # NaN is neither
                priors.add(f"{prior[i]} of {names[i].as_py()!r:.80}")
            for name, i in zip(names.to_pylist(), row, strict=True):
                if name is None or not name.strip():
                    empty.add(f"one of row {i}")
        last = "" if rows is None else f" (the last one is {rows - 1})"
        astray.report(findings, ALIASES_NAME, f"names lead to rows that are not there{last}")
        priors.report(findings, ALIASES_NAME, "priors are no shares from 0 to 1")
        empty.report(findings, ALIASES_NAME, "names are empty", severe=False)
        if config is not None and config.linker == "dictionary" and (nameless := int((~named).sum())):
            findings.warning(ALIASES_NAME, f"{nameless} of {rows} entities have no name: no text can lead to them.")


def _numbers(column: pa.Array, absent: float) -> np.ndarray:
    return column.fill_null(absent).to_numpy(zero_copy_only=False)


def _batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read a table whatever it says: what is wrong in it is counted by the caller.

    Texts are read as dictionaries first: in a few kilobytes of Parquet, a long one may be repeated a million times.

    Raises:
        ArtifactError: It is no whole Parquet file, a text is no UTF-8, or a part of it would not fit into memory.
    """
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            metadata = file.metadata
            groups = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
            _check_bytes(path, max(groups, default=0), _MAX_GROUP_BYTES)
            leaves = [metadata.schema.column(i) for i in range(len(metadata.schema))]
            texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        with pq.ParquetFile(path, memory_map=True, read_dictionary=texts) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                batch.validate(full=True)
                _check_bytes(path, sum(map(_decoded_bytes, batch.columns)), _MAX_BATCH_BYTES)
                yield pa.RecordBatch.from_arrays(list(map(_decoded, batch.columns)), batch.schema.names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is no whole Parquet file: {error}") from error


def _check_bytes(path: Path, found: int, most: int) -> None:
    if found > most:
        raise ArtifactError(f"{path}: {found} bytes would have to be in memory at once; at most {most} are read.")


def _decoded_bytes(column: pa.Array) -> int:
    if pa.types.is_list(column.type):
        column = column.flatten()
    if not pa.types.is_dictionary(column.type):
        return column.nbytes
    return pc.sum(pc.take(pc.binary_length(column.dictionary).cast(pa.int64()), column.indices)).as_py() or 0


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


@dataclass
class _Tally:
    """Counts what may be millions, and keeps the first few as examples."""

    count: int = 0
    examples: tuple[str, ...] = ()

    def add(self, example: str) -> None:
        self.count += 1
        if len(self.examples) < 3:
            self.examples += (example,)

    def report(self, findings: Findings, where: str, what: str, severe: bool = True) -> None:
        if self.count:
            note = findings.error if severe else findings.warning
            note(where, f"{self.count} {what}: {', '.join(self.examples)}{', ...' if self.count > 3 else '.'}")
