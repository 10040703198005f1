"""Opening text files of strangers: packed or not, line by line, within stated bounds, every error with its line."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import shlex
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from knowledge_plugin.errors import ReaderError

MAX_LINE_BYTES = 2**24
# What a packed file may become: so much in any case, and so many times its own size. Names, tables and dumps shrink
# to a fifth or a thirtieth; what shrinks to a thousandth was made to fill somebody's disk.
FREE_BYTES = 2**28
MAX_RATIO = 200

_GZIP, _BZIP2, _PARQUET = b"\x1f\x8b", b"BZh", b"PAR1"
_OTHER_KINDS = {
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstandard file",
    _PARQUET: "a Parquet file",
}


class _Guarded(io.RawIOBase):
    """The unpacked bytes of a file, counted, so that a bomb goes off in nobody's memory."""

    def __init__(self, path: Path, raw: BinaryIO, unpacked: BinaryIO) -> None:
        self._path, self._raw, self._unpacked, self._count = path, raw, unpacked, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        try:
            data = self._unpacked.read(len(buffer))
        except (EOFError, OSError, zlib.error) as error:
            raise ReaderError(f"{self._path}: the packed file is damaged or cut off: {error}.") from error
        buffer[: len(data)] = data
        self._count += len(data)
        if self._count > FREE_BYTES and self._count > MAX_RATIO * self._raw.tell():
            raise ReaderError(
                f"{self._path}: expected a packed file of at most {MAX_RATIO} times its size, found {self._count:,} "
                f"bytes in the first {self._raw.tell():,}. If you trust it, unpack it first."
            )
        return len(data)


@contextmanager
def open_unpacked(path: str | Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading bytes; gzip and bzip2 are known by their first bytes, whatever the file is called.

    Raises:
        ReaderError: There is no such file, it is damaged, or it unpacks to more than :data:`MAX_RATIO` times its size
            (and more than :data:`FREE_BYTES`).
    """
    path = Path(path)
    try:
        raw = path.open("rb")
    except OSError as error:
        raise ReaderError(f"{path}: expected a file that can be read: {error.strerror or error}.") from error
    with raw:
        magic = raw.peek(8)
        if magic.startswith(_GZIP):
            yield io.BufferedReader(_Guarded(path, raw, gzip.GzipFile(fileobj=raw)), 2**17)  # type: ignore[arg-type]
        elif magic.startswith(_BZIP2):
            yield io.BufferedReader(_Guarded(path, raw, bz2.BZ2File(raw)), 2**17)  # type: ignore[arg-type]
        else:
            yield raw


def is_packed(path: str | Path) -> bool:
    """Say whether a file is gzip or bzip2."""
    with Path(path).open("rb") as file:
        return file.read(3).startswith((_GZIP, _BZIP2))


def read_lines(
    path: str | Path, *, encoding: str = "utf-8", max_line_bytes: int = MAX_LINE_BYTES, keep_ends: bool = False
) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, from 1, without line ends and byte-order mark.

    One line is in memory at a time. ``encoding`` is any that writes a line end as ASCII does. With
    ``keep_ends`` line ends stay on, as they are.

    Raises:
        ReaderError: The file cannot be read, is not text of this encoding, holds a NUL, or a line is longer than
            ``max_line_bytes``; with file and line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "names.txt")
        >>> _ = path.write_bytes(b"\\xef\\xbb\\xbfBerlin\\r\\nKyiv")
        >>> list(read_lines(path))
        [(1, 'Berlin'), (2, 'Kyiv')]
    """
    decode = _decoder(encoding)
    with open_unpacked(path) as file:
        number = 0
        while line := _readline(file, path, number + 1, max_line_bytes):
            number += 1
            if number == 1:
                _check_kind(path, line)
                line = line.removeprefix(codecs.BOM_UTF8)
            if b"\0" in line:
                raise ReaderError(f"{path}:{number}: expected text, found a NUL byte. Is this a binary file?")
            try:
                text = decode(line)[0]
            except UnicodeDecodeError as error:
                raise ReaderError(
                    f"{path}:{number}: expected text in {encoding}, found the byte 0x{line[error.start]:02x} at "
                    f"position {error.start + 1}. {_conversion(Path(path))}"
                ) from None
            yield number, text if keep_ends else text.rstrip("\r\n")


def _readline(file: io.BufferedReader, path: str | Path, number: int, max_line_bytes: int) -> bytes:
    line = file.readline(max_line_bytes + 1)
    if len(line) > max_line_bytes:
        raise ReaderError(f"{path}:{number}: expected a line of at most {max_line_bytes:,} bytes, found a longer one.")
    return line


def _conversion(path: Path) -> str:
    """Return what to type, on any command line, where text is of another encoding."""
    before = ""
    if is_packed(path):
        before, path = "Unpack it, then ", path.with_suffix("")
    source, target = (shlex.quote(str(p)) for p in (path, path.with_name(f"{path.stem}-utf8{path.suffix}")))
    return (
        f"{before or 'To '}convert it, if it is Windows-1252: iconv -f WINDOWS-1252 -t UTF-8 {source} > {target} (in "
        "Python, the readers of CSV also take encoding='cp1252')"
    )


def _check_kind(path: str | Path, line: bytes) -> None:
    for magic, kind in _OTHER_KINDS.items():
        if line.startswith(magic):
            raise ReaderError(f"{path}:1: expected text in UTF-8 (plain, gzip or bzip2), found {kind}. Convert it.")


def _decoder(encoding: str):  # type: ignore[no-untyped-def]
    try:
        info = codecs.lookup(encoding)
        is_like_ascii = info.encode("a\n")[0] == b"a\n"
    except (LookupError, TypeError, ValueError):
        is_like_ascii = False
    if not is_like_ascii:
        raise ReaderError(f"encoding: expected one that contains ASCII, such as 'cp1252', found {encoding!r:.40}.")
    return info.decode
