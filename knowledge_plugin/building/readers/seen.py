"""Which ids a file has shown already, in 16 bytes for each."""

from __future__ import annotations

import numpy as np

from knowledge_plugin.errors import ReaderError

_BATCH = 2**14


class SeenIds:
    """Refuses an id that a file shows twice, naming both lines.

    The last few thousand ids are kept as they are; of the rest, a hash and the line. A repetition is therefore said
    at once or some thousand rows later, and at the latest by :meth:`finish`. Hashes have 64 bits: the chance that a
    file of five million different ids is refused by mistake is one in a million.

    Args:
        path: The file, for messages.
        unit: What is counted: ``"line"`` or ``"row"``.
    """

    def __init__(self, path: object, unit: str = "line") -> None:
        self._path, self._unit = path, unit
        self._recent: dict[str, int] = {}
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []  # sorted hashes and their lines, longest first

    def add(self, id: str, line: int) -> None:
        """Remember an id.

        Raises:
            ReaderError: It was there before.
        """
        if (first := self._recent.setdefault(id, line)) != line:
            raise self._repeated(id, first, line)
        if len(self._recent) >= _BATCH:
            self._flush()

    def finish(self) -> None:
        """Compare what was not compared yet.

        Raises:
            ReaderError: An id was there twice.
        """
        self._flush()

    def _flush(self) -> None:
        if not self._recent:
            return
        hashes = np.fromiter(map(hash, self._recent), np.int64, len(self._recent))
        lines = np.fromiter(self._recent.values(), np.int64, len(self._recent))
        for known, at in self._runs:
            places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
            for index in np.flatnonzero(known[places] == hashes)[:1]:
                raise self._repeated(list(self._recent)[index], at[places[index]], lines[index])
        self._recent.clear()
        self._runs.append(_sorted(hashes, lines))
        # Merged like a sorted log: a row is moved about log2(rows / _BATCH) times in all.
        while len(self._runs) > 1 and len(self._runs[-2][0]) <= 2 * len(self._runs[-1][0]):
            (hashes, lines), (more, at) = self._runs.pop(), self._runs.pop()
            self._runs.append(_sorted(np.concatenate([more, hashes]), np.concatenate([at, lines])))

    def _repeated(self, id: str, first: int, line: int) -> ReaderError:
        return ReaderError(
            f"{self._path}:{line}: the id {id!r:.200} was there before, in {self._unit} {first}. Expected one "
            f"{self._unit} for each entity, with all of its aliases."
        )


def _sorted(hashes: np.ndarray, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(hashes, kind="stable")
    return hashes[order], lines[order]
