"""Interrupts this process at the n-th step of what it does to files.

Python's own steps (opening for writing, renaming, linking, removing, making folders) are seen by an audit hook; those
of safetensors and Arrow happen outside Python, so their functions are wrapped, and write half a file before they fail.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from knowledge_plugin.injection import network
from knowledge_plugin.knowledge_base import embedding_index, tables

_EVENTS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}
_countdown: list = []


def _step() -> None:
    if not _countdown:
        return
    _countdown[0] -= 1
    if _countdown[0] == 0:
        act = _countdown[1]
        _countdown.clear()
        act()


def _audit(event: str, arguments: tuple) -> None:
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wxa+")
    if _countdown and (writes or event in _EVENTS):
        _step()


@contextmanager
def interrupted_at(step: int, act: Callable[[], None], monkeypatch) -> Iterator[None]:
    """Within, call ``act`` at the n-th step; if there are fewer steps, never."""
    if not getattr(interrupted_at, "installed", False):
        sys.addaudithook(_audit)
        interrupted_at.installed = True

    def half(function, place):
        def write(*args, **kwargs):
            path = Path(args[place])
            path.write_bytes(b"half")
            _step()
            result = function(*args, **kwargs)
            _step()
            return result

        return write

    def after(function):
        def move(*args, **kwargs):
            result = function(*args, **kwargs)
            _step()
            return result

        return move

    with monkeypatch.context() as patch:
        patch.setattr(embedding_index, "save_file", half(embedding_index.save_file, 1))
        patch.setattr(network, "save_file", half(network.save_file, 1))
        patch.setattr(tables.pq, "write_table", half(tables.pq.write_table, 1))
        for name in ("replace", "link"):
            patch.setattr(os, name, after(getattr(os, name)))
        _countdown[:] = [step, act]
        try:
            yield
        finally:
            _countdown.clear()


def steps_of(save: Callable[[], None], monkeypatch) -> int:
    """Count the steps of a save."""
    never = 10**9
    with interrupted_at(never, lambda: None, monkeypatch):
        save()
        return never - _countdown[0]
