"""By what it is known that a file has changed."""

from __future__ import annotations

from pathlib import Path


def state_of(path: str | Path | None) -> list | None:
    """Return path, size and time of a file, or of all files of a folder: what tells whether it has changed."""
    if path is None:
        return None
    found = Path(path).absolute()
    files = sorted(p for p in found.rglob("*") if p.is_file()) if found.is_dir() else [found]
    return [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in files if p.exists()]
