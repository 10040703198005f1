"""Artifacts on disk: written beside and renamed into place, checked against the sizes and sums they declare."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from knowledge_plugin.config import CONFIG_NAME, LIBRARY_NAME, MAX_CONFIG_BYTES, FileConfig
from knowledge_plugin.errors import ArtifactError, KnowledgePluginError, SaveError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_STAGING_PREFIX, _UNDOING_PREFIX = ".saving-", ".undoing-"
# Within the staging folder: what is saved, what it replaces, a file that says that all of it is there, and one that
# stays locked as long as the process that saves is alive.
_NEW, _OLD, _READY, _LOCK = "new", "old", "ready", "lock"
_README = "README.md"  # what a person wrote there is kept by whoever writes the card


@contextmanager
def staged(folder: str | Path, replaces: tuple[str, ...] = ()) -> Iterator[Path]:
    """Write an artifact beside the old one, then rename its files into place.

    The body writes into the folder that this yields. Only when it has ended without an error do the files move to
    ``folder``, ``config.json`` last. Whatever goes wrong before, the old artifact stands untouched; an error while
    moving puts the old files back, and if the process dies while moving, :func:`finish_save` moves the rest. Files of
    other names in ``folder`` are never touched.

    Args:
        folder: Where the artifact belongs; made if absent.
        replaces: Glob patterns of old files that the new artifact makes obsolete (shards of another count).

    Yields:
        An empty folder on the same disk.

    Raises:
        SaveError: The disk is full, the folder is not writable, the path is a file, the ``config.json`` that stands
            there describes something else, such as a checkpoint, or none stands there and a file would be overwritten.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> target = Path(tempfile.mkdtemp()) / "artifact"
        >>> with staged(target) as beside:
        ...     _ = (beside / "config.json").write_text("{}")
        >>> (target / "config.json").read_text()
        '{}'
    """
    target = Path(folder)
    staging: Path | None = None
    lock: int | None = None
    try:
        if (file := next((p for p in (target, *target.parents) if p.exists() and not p.is_dir()), None)) is not None:
            raise SaveError(f"could not save to {target}: {file} is a file. Name a folder.")
        target.mkdir(parents=True, exist_ok=True)
        finish_save(target)
        _remove_abandoned(target)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=target))
        lock = _show_alive(staging)
        new = staging / _NEW
        new.mkdir()
        yield new
        names = _names(new)
        obsolete = sorted({p.relative_to(target) for pattern in replaces for p in target.glob(pattern)} - set(names))
        _check_kinds(new, target, names)
        _check_owners(target, names, obsolete)
        _commit(staging, target, names, obsolete)
    except KnowledgePluginError:
        raise
    except Exception as error:
        # safetensors and Arrow report a full disk with error classes of their own.
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        raise SaveError(
            f"could not save to {target}: {error}. What stood there before is untouched. "
            "Expected a writable folder with enough free space; free some, or name another folder."
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _show_alive(staging: Path) -> int | None:
    """Lock a file of the staging folder, which ends when it is closed or the process does, however it does.

    The file gets its name when it is locked: nobody ever finds it unlocked while its process lives.
    """
    if fcntl is None:
        return None
    lock = os.open(staging / f"{_LOCK}-", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(lock, socket.gethostname().encode())
        os.rename(staging / f"{_LOCK}-", staging / _LOCK)
    except OSError:  # a disk without locks: what stays behind if the process dies is left there
        pass
    except BaseException:
        os.close(lock)
        raise
    return lock


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes that are surely gone were writing: of this machine, and with nobody holding the lock.

    A disk may be shared with machines whose locks do not show here; what they left is theirs to remove.
    """
    if fcntl is None:
        return
    for staging in folder.glob(f"{_STAGING_PREFIX}*"):
        if staging.is_symlink():
            continue
        with suppress(OSError):  # no lock there, or one that is held
            lock = os.open(staging / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                is_of_this_machine = os.read(lock, 1000) == socket.gethostname().encode()
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_of_this_machine and not (staging / _READY).exists():  # else readers have yet to finish it
                    shutil.rmtree(staging, ignore_errors=True)
            finally:
                os.close(lock)


def _commit(staging: Path, target: Path, names: list[Path], obsolete: list[Path]) -> None:
    new, old = staging / _NEW, staging / _OLD
    replaced = [name for name in [*obsolete, *names] if (target / name).is_file()]
    try:
        for name in replaced:
            (old / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(target / name, old / name)
        (staging / _READY).touch()
        _move(new, target, names)
        for name in obsolete:
            (target / name).unlink(missing_ok=True)
    except BaseException:
        # Out of the readers' sight first: one of them may be moving these very files, or have moved them all.
        undone = staging.with_name(_UNDOING_PREFIX + staging.name.removeprefix(_STAGING_PREFIX))
        with suppress(FileNotFoundError):  # a reader has finished this save: it stands
            os.rename(staging, undone)
            _undo(undone, target, replaced, names)
        raise


def _undo(staging: Path, target: Path, replaced: list[Path], names: list[Path]) -> None:
    for name in replaced:
        if (staging / _OLD / name).is_file():
            os.replace(staging / _OLD / name, target / name)
    for name in set(names) - set(replaced):
        if not (staging / _NEW / name).is_file():
            (target / name).unlink(missing_ok=True)
    shutil.rmtree(staging, ignore_errors=True)


def _check_kinds(new: Path, target: Path, names: list[Path]) -> None:
    """Refuse to put an artifact in the place of a checkpoint, or of an artifact of another kind."""
    for name in names:
        path = target / name
        if name.name == CONFIG_NAME and path.is_file() and (found := _kind(path)) != (saved := _kind(new / name)):
            raise SaveError(
                f"{path} belongs to {found}; saving {saved} over it would destroy that. Nothing was changed. Name "
                f"another folder, for example {target.resolve()}-new, or remove what is there."
            )


def _check_owners(target: Path, names: list[Path], obsolete: list[Path]) -> None:
    """Refuse to overwrite or remove a file that no config beside it claims: it is somebody else's."""
    roots = [name.parent for name in names if name.name == CONFIG_NAME]
    for name in [*names, *obsolete]:
        root = max((root for root in roots if root in name.parents), key=lambda r: len(r.parts), default=Path())
        path = target / name
        if name.name != _README and path.is_file() and not (target / root / CONFIG_NAME).is_file():
            raise SaveError(
                f"{path} was not written by this package, or there is no {CONFIG_NAME} any more that says so; saving "
                f"would destroy it. Nothing was changed. Name another folder, for example {target.resolve()}-new, or "
                "remove what is there."
            )


def _kind(config: Path) -> str:
    """Say in words what a ``config.json`` describes."""
    if config.stat().st_size > MAX_CONFIG_BYTES:
        return "something else"
    try:
        data = json.loads(config.read_bytes())
    except (ValueError, RecursionError):
        return "something else (no JSON)"
    if not isinstance(data, dict):
        return "something else (no object)"
    if (library := data.get("library_name")) == LIBRARY_NAME:
        return f"a {data.get('artifact')!s:.80}"
    if library is not None:
        return f"something of another library ({library!s:.80})"
    return f"a transformers model ({data['model_type']!s:.80})" if "model_type" in data else "something else"


def _names(new: Path) -> list[Path]:
    """Return the files of a staging folder in the order in which they move."""
    names = [Path(root, file).relative_to(new) for root, _, files in os.walk(new) for file in files]
    # Readers trust config.json, so it comes last, the outermost last of all.
    return sorted(names, key=lambda name: (name.name == CONFIG_NAME, -len(name.parts), name))


def _move(new: Path, target: Path, names: list[Path]) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(new / name, target / name)
        except FileNotFoundError:
            if (new / name).exists() or not (target / name).is_file():
                raise
            # A reader found the save half done, and moved this file: see finish_save.


def link_or_copy(source: Path, destination: Path) -> None:
    """Give a file a second name, or copy it where that cannot be: on another disk, or one without hard links.

    Both names mean the same bytes from then on. That is safe for whatever :func:`staged` has written: it puts new
    files in the place of old ones, and never writes into one.
    """
    try:
        os.link(source, destination)
    except OSError:  # a disk without hard links
        shutil.copyfile(source, destination)


def finish_save(folder: Path) -> None:
    """Move the rest of a save whose process died while it moved its files into place.

    Nothing happens to a save that was still being written, nor where this process may not write, nor to anything that
    lies outside the folder.
    """
    for ready in sorted(folder.glob(f"{_STAGING_PREFIX}*/{_READY}")):
        staging = ready.parent
        new = staging / _NEW
        if staging.is_symlink() or new.is_symlink():
            continue
        names, root = _names(new), folder.resolve()
        if all((folder / name).parent.resolve().is_relative_to(root) for name in names):
            with suppress(OSError):
                _move(new, folder, names)
                shutil.rmtree(staging)


def checksum(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def describe_files(folder: str | Path, names: list[str]) -> dict[str, FileConfig]:
    """Return size and checksum of each named file, to be written into ``config.json``."""
    return {name: FileConfig((Path(folder) / name).stat().st_size, checksum(Path(folder) / name)) for name in names}


def inside(folder: str | Path, name: str) -> Path:
    """Return the path of a file that a config names, if it lies in the artifact's folder.

    Only the name itself is judged, and links along the way inside ``folder``: a snapshot of huggingface_hub consists
    of links to the blobs of its cache, which lie outside.

    Raises:
        ArtifactError: The name is absolute, climbs out with ``..``, or is empty.
    """
    parts = name.replace("\\", "/").split("/")
    if not name or name.startswith(("/", "\\")) or ":" in name or "\0" in name or {"", ".", ".."} & set(parts):
        raise ArtifactError(f"{folder}: the config names a file outside the folder: {name!r:.200}. Do not trust it.")
    return Path(folder, *parts)


def check_sizes(folder: str | Path, files: Mapping[str, FileConfig]) -> None:
    """Compare the files of an artifact with the sizes its config declares; reads no contents.

    Raises:
        ArtifactError: A file is missing, has another size, or is named outside the folder.
    """
    for name, expected in files.items():
        path = inside(folder, name)
        if not os.path.isfile(path):  # unlike Path.is_file, never raises, however strange the name
            raise ArtifactError(f"{folder}: the file {name:.200} is missing. Download or save the artifact again.")
        if (size := path.stat().st_size) != expected.size:
            raise ArtifactError(
                f"{path} has {size} bytes, but the config declares {expected.size}: the file is truncated or was "
                "altered. Download or save the artifact again."
            )


def check_sums(folder: str | Path, files: Mapping[str, FileConfig]) -> None:
    """Compare sizes and SHA-256 of the files of an artifact with its config; reads every byte.

    Raises:
        ArtifactError: A file is missing, truncated or altered, or named outside the folder.
    """
    check_sizes(folder, files)
    for name, expected in files.items():
        check_sum(inside(folder, name), expected)


def check_sum(path: Path, expected: FileConfig) -> None:
    """Compare the SHA-256 of one file with what its config declares; reads every byte.

    Raises:
        ArtifactError: It is another one.
    """
    if checksum(path) != expected.sha256:
        raise ArtifactError(
            f"{path} does not have the checksum that the config declares: the file was altered. "
            "Download or save the artifact again."
        )
