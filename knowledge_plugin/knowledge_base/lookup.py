"""From an id to a row, from a row to an id, and from a name to its candidates: tries that are mapped from disk.

A trie is built on this machine from the tables, once for each content (the key is the checksum of the table that it
was built from), and kept in the assets cache of huggingface_hub. Tries of strangers are never opened.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import marisa_trie
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from huggingface_hub import cached_assets_path

from knowledge_plugin.config import LIBRARY_NAME, MAX_ROWS, Case
from knowledge_plugin.errors import ArtifactError, KnowledgeBaseError
from knowledge_plugin.knowledge_base.columns import mask, numbers
from knowledge_plugin.knowledge_base.normalization import normalize, normalize_column, strip_column
from knowledge_plugin.knowledge_base.rows import check_priors, check_rows

# Raised whenever the files below change, so that an old cache is rebuilt and not misread.
_CACHE_FORMAT = 2
# A longer name is not looked for in text: nobody writes it out, and every word of every text would pay for it.
MAX_ALIAS_LENGTH = 200
_BATCH = 65_536
_TRIE, _MANIFEST = "keys.marisa", "manifest.json"
AnyLookup = TypeVar("AnyLookup", bound="_Lookup")


def alias_key(name: str, case: Case) -> str | None:
    """Return the key that a name is looked up by, or ``None`` if it never is: blank, very long, or with a NUL.

    Example:
        >>> alias_key(" Paris ", "insensitive")
        'paris'
    """
    key = normalize(name, case).strip()
    return key if key and len(key) <= MAX_ALIAS_LENGTH and "\0" not in key else None


class _Lookup:
    """A trie of texts and, for each, entries of parallel arrays; in memory or mapped from a folder."""

    arrays: tuple[str, ...]

    def __init__(self, trie: marisa_trie.Trie, arrays: dict[str, np.ndarray]) -> None:
        self.trie = trie
        for name in self.arrays:
            setattr(self, name, arrays[name])

    def check(self, count: int, where: object) -> None:
        """Check that trie and arrays fit each other, and lead to rows from 0 to ``count - 1``.

        Raises:
            ArtifactError: They do not: a cache was damaged, or the table that they were built from is wrong.
        """
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write trie, arrays and their sizes."""
        self.trie.save(str(folder / _TRIE))
        for name in self.arrays:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        (folder / _MANIFEST).write_text(json.dumps(sizes))

    def is_whole(self, count: int) -> bool:
        """Say whether :meth:`check` finds nothing wrong."""
        try:
            self.check(count, "")
        except ArtifactError:
            return False
        return True

    @classmethod
    def open(cls: type[AnyLookup], folder: Path) -> AnyLookup | None:
        """Map what :meth:`save` wrote, or return ``None`` if it is not whole."""
        try:
            sizes = dict(json.loads((folder / _MANIFEST).read_text()))
            if set(sizes) != {_TRIE, *(f"{name}.npy" for name in cls.arrays)}:
                return None
            if any((folder / name).stat().st_size != size for name, size in sizes.items()):
                return None
            trie = marisa_trie.Trie()
            trie.mmap(str(folder / _TRIE))
            arrays = {n: np.load(folder / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in cls.arrays}
            return cls(trie, arrays)
        except (OSError, EOFError, TypeError, ValueError, RuntimeError):
            return None


class IdLookup(_Lookup):
    """Entity ids to rows and back.

    Attributes:
        row_of_key: int32 ``[rows]``, the row of each key of the trie.
        key_of_row: int32 ``[rows]``, the key of each row.
    """

    arrays = ("row_of_key", "key_of_row")
    row_of_key: np.ndarray
    key_of_row: np.ndarray

    @classmethod
    def build(cls, ids: pa.ChunkedArray) -> IdLookup:
        """Build from a column of ids in row order.

        Raises:
            KnowledgeBaseError: An id occurs twice, or holds a NUL character, at which the trie would cut it off.
        """
        if (cut := pc.index(pc.match_substring(ids, "\0"), True).as_py()) >= 0:
            raise KnowledgeBaseError(f"the id {ids[cut].as_py()!r:.200} holds a NUL character.")
        trie = marisa_trie.Trie(_texts(ids))
        if len(trie) != len(ids):
            seen: set[str] = set()
            twice = next(i for i in _texts(ids) if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise KnowledgeBaseError(f"the id {twice!r:.200} occurs more than once; each entity has an id of its own.")
        key_of_row = np.fromiter(map(trie.get, _texts(ids)), np.int32, len(ids))
        row_of_key = np.empty(len(ids), np.int32)
        row_of_key[key_of_row] = np.arange(len(ids), dtype=np.int32)
        return cls(trie, {"row_of_key": row_of_key, "key_of_row": key_of_row})

    def check(self, count: int, where: object) -> None:
        """Check that every row has one id, and the other way round; see :meth:`_Lookup.check`."""
        if len(self.trie) != count:
            raise ArtifactError(f"{where}: expected {count} ids, found {len(self.trie)}.")
        if not all(_is_permutation(array, count) for array in (self.row_of_key, self.key_of_row)):
            raise ArtifactError(f"{where}: some rows have no id of their own.")

    def row(self, entity_id: str) -> int | None:
        """Return the row of an id, or ``None``."""
        key = _find(self.trie, entity_id)
        return None if key is None else int(self.row_of_key[key])

    def id(self, row: int) -> str:
        """Return the id of a row."""
        return self.trie.restore_key(int(self.key_of_row[row]))


class AliasLookup(_Lookup):
    """Names to candidate rows, the likeliest first.

    Attributes:
        starts: int32 ``[keys + 1]``; candidates of key ``k`` are ``starts[k]`` to ``starts[k + 1]``.
        rows: int32 ``[candidates]``.
        priors: float32 ``[candidates]``.
        max_length: int32 ``[1]``, characters of the longest name.
    """

    arrays = ("starts", "rows", "priors", "max_length")
    starts: np.ndarray
    rows: np.ndarray
    priors: np.ndarray
    max_length: np.ndarray

    @classmethod
    def build(cls, names: pa.Table, case: Case) -> AliasLookup:
        """Build from a table of alias, row and prior; of equal priors, the row that comes first is the likelier."""
        keys = strip_column(normalize_column(names["alias"], case))
        fit = pc.and_(pc.not_equal(keys, ""), pc.less_equal(pc.utf8_length(keys), MAX_ALIAS_LENGTH))
        fit = pc.and_not(fit, pc.match_substring(keys, "\0"))
        keys, fits = keys.filter(fit), mask(fit)
        trie = marisa_trie.Trie(_texts(keys))
        key_ids = np.fromiter(map(trie.get, _texts(keys)), np.int32, len(keys))
        # A row beyond 32 bits is not there, as check_rows will say of whatever is clipped here.
        row_array = numbers(names["row"])[fits].clip(-1, MAX_ROWS).astype(np.int32)
        prior_array = numbers(names["prior"])[fits].astype(np.float32)
        # Spellings that differ in case alone fall together: keep the best prior of each (name, entity).
        order = np.lexsort((-prior_array, row_array, key_ids))
        first = np.ones(len(order), bool)
        first[1:] = (np.diff(key_ids[order]) != 0) | (np.diff(row_array[order]) != 0)
        order = order[first]
        order = order[np.lexsort((row_array[order], -prior_array[order], key_ids[order]))]
        starts = np.zeros(len(trie) + 1, np.int32)
        np.cumsum(np.bincount(key_ids[order], minlength=len(trie)), out=starts[1:])
        longest = np.array([pc.max(pc.utf8_length(keys)).as_py() or 0], np.int32)
        arrays = {"starts": starts, "rows": row_array[order], "priors": prior_array[order], "max_length": longest}
        return cls(trie, arrays)

    def check(self, count: int, where: object) -> None:
        """Check that every name has candidates, and these are rows; see :meth:`_Lookup.check`."""
        starts = self.starts
        fits = starts.shape == (len(self.trie) + 1,) and self.max_length.shape == (1,)
        fits = fits and self.rows.ndim == 1 and self.rows.shape == self.priors.shape
        if not fits or starts[0] != 0 or starts[-1] != len(self.rows) or not bool((np.diff(starts) > 0).all()):
            raise ArtifactError(f"{where}: names and their candidates do not fit each other.")
        check_rows(self.rows, count, where)
        check_priors(self.priors, where)

    def best(self, key: str) -> tuple[int, float] | None:
        """Return row and prior of the likeliest candidate of a normalised name, or ``None``."""
        index = _find(self.trie, key)
        if index is None:
            return None
        start = self.starts[index]
        return int(self.rows[start]), float(self.priors[start])

    def candidates(self, key: str) -> list[tuple[int, float]]:
        """Return rows and priors of all candidates of a normalised name, the likeliest first."""
        index = _find(self.trie, key)
        if index is None:
            return []
        span = slice(int(self.starts[index]), int(self.starts[index + 1]))
        return list(zip(self.rows[span].tolist(), self.priors[span].tolist(), strict=True))


def _texts(column: pa.ChunkedArray) -> Iterator[str]:
    """Read texts some at a time: as a list, millions of them would take gigabytes."""
    for batch in pa.table([column], ["text"]).to_batches(_BATCH):
        yield from batch["text"].to_pylist()


def _is_permutation(array: np.ndarray, count: int) -> bool:
    """Say whether an array is 0 to ``count - 1`` in some order; by the sum, which is damaged if a number is."""
    if array.shape != (count,) or not 0 <= int(array.min()) <= int(array.max()) < count:
        return False
    return int(array.sum(dtype=np.int64)) == count * (count - 1) // 2


def _find(trie: marisa_trie.Trie, key: str) -> int | None:
    """Return the number of a key; marisa-trie itself would cut a key off at NUL, and raise at half a surrogate pair."""
    try:
        return None if "\0" in key else trie.get(key)
    except UnicodeEncodeError:
        return None


def cached(kind: type[AnyLookup], key: str, build: Callable[[], AnyLookup], count: int, where: object) -> AnyLookup:
    """Open a lookup from the cache of this machine, building it if it is not there, not whole or damaged.

    Args:
        kind: :class:`IdLookup` or :class:`AliasLookup`.
        key: Names the content that it is built from, for example a checksum.
        build: Makes it.
        count: How many rows the knowledge base has.
        where: What the errors name.

    Returns:
        The lookup, mapped from disk; in memory if the cache cannot be written.

    Raises:
        ArtifactError: What was built leads to rows that are not there. It does not enter the cache.
    """
    folder: Path | None = None
    try:
        cache = cached_assets_path(LIBRARY_NAME, namespace="lookups", subfolder=f"v{_CACHE_FORMAT}")
        folder = Path(cache) / key
        if (found := kind.open(folder)) is not None and found.is_whole(count):
            # Mapped anew: the check has read all of it, and pages that were read count as memory of this process.
            return kind.open(folder) or found
    except (OSError, ValueError) as error:  # huggingface_hub says ValueError if a file stands in the way
        folder = None
        _warn(error)
    built = build()
    built.check(count, where)
    if folder is None:
        return built
    try:
        _put(built, folder)
        return kind.open(folder) or built
    except OSError as error:
        _warn(error)
    return built


def _warn(error: Exception) -> None:
    warnings.warn(f"the lookup cache cannot be written ({error}); lookups are built again each time.", stacklevel=3)


def _put(lookup: _Lookup, folder: Path) -> None:
    staging = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        lookup.save(staging)
        # Not whole, or another process was faster; either way ours is good.
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink(missing_ok=True)
        os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
