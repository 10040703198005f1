"""Stages of long work, each in a folder of its own, so that what was interrupted goes on where it stood."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from knowledge_plugin.config import LIBRARY_VERSION
from knowledge_plugin.errors import SaveError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_STARTED, _DONE, _LOCK = "started.json", "done.json", "lock"


class Stages:
    """Runs stages one after the other and remembers which are done.

    A stage is done anew if what it was made of has changed: files by path, size and time, options by value, and the
    stages before it.

    Args:
        folder: Where the stages have their folders.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = LIBRARY_VERSION

    def run(self, name: str, inputs: dict[str, Any], make: Callable[[Path], dict[str, Any]]) -> tuple[Path, dict]:
        """Run a stage, unless it was run to its end with the same inputs.

        Args:
            name: Of the stage, and of its folder.
            inputs: All that its result depends on, as JSON.
            make: Does the work in the folder. What an interrupted run with the same inputs left there is there still.

        Returns:
            The folder, and what ``make`` said of its result.
        """
        folder = self._folder / name
        key = hashlib.sha256(json.dumps([self._before, inputs], sort_keys=True, default=str).encode()).hexdigest()
        self._before = key
        if (done := _read(folder / _DONE)) is not None and done.get("inputs") == key:
            return folder, done["facts"]
        if (_read(folder / _STARTED) or {}).get("inputs") != key:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _write(folder / _STARTED, {"inputs": key})
        facts = make(folder)
        _write(folder / _DONE, {"inputs": key, "facts": facts})
        return folder, facts


@contextmanager
def working_folder(output: Path) -> Iterator[Path]:
    """Make ``OUTPUT.building`` for one process at a time; it stays only if the body fails after a stage was done.

    Raises:
        SaveError: Another process is at it, or it cannot be written.
    """
    folder = output.with_name(f"{output.name}.building")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise SaveError(f"could not write to {folder}: {error}. Expected a place for intermediate results.") from error
    try:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SaveError(f"{folder}: another process builds there. Wait for it, or name another OUT.") from error
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        if isinstance(error, SaveError) or error.errno is None:  # not of the disk, such as of a network
            raise
        raise SaveError(
            f"could not build {output}: {error}. What is done lies in {folder}; the same call goes on from there."
        ) from error
    finally:
        if not any(folder.glob(f"*/{_DONE}")):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _read(path: Path) -> dict | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, values: dict) -> None:
    beside = path.with_suffix(".partial")
    beside.write_text(json.dumps(values, default=str))
    beside.replace(path)
