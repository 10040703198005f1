from __future__ import annotations

import bz2
import gzip

import pytest

from knowledge_plugin.building.readers import text
from knowledge_plugin.building.readers.text import is_packed, open_unpacked, read_lines
from knowledge_plugin.errors import ReaderError
from tests.building.readers.files import MIB, drain, peak, write

LINES = [(1, "Łódź"), (2, ""), (3, "東京")]
TEXT = "Łódź\n\n東京".encode()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize(
    "change", [bytes, lambda t: b"\xef\xbb\xbf" + t, lambda t: t.replace(b"\n", b"\r\n") + b"\r\n"]
)
def test_packed_or_not_with_any_line_ends_and_mark_the_lines_are_the_same(tmp_path, pack, change):
    path = write(tmp_path, "anything", pack(change(TEXT)))
    assert list(read_lines(path)) == LINES
    assert is_packed(path) == (pack is not bytes)


def test_several_gzip_files_in_one_are_read_as_one(tmp_path):
    path = write(tmp_path, "a.gz", gzip.compress(b"a\nb", mtime=0) + gzip.compress(b"c\n"))
    assert list(read_lines(path)) == [(1, "a"), (2, "bc")]


def test_an_empty_file_has_no_lines(tmp_path):
    assert list(read_lines(write(tmp_path, "a", b""))) == []


def test_a_wrong_byte_is_named_with_its_line_and_the_way_out(tmp_path):
    path = write(tmp_path, "a.csv", b"fine\ncaf\xe9\n")
    with pytest.raises(ReaderError, match=r"a\.csv:2: .*0xe9 at position 4.*cp1252") as caught:
        drain(read_lines(path))
    assert list(read_lines(path, encoding="cp1252")) == [(1, "fine"), (2, "café")]
    assert f"iconv -f WINDOWS-1252 -t UTF-8 {path} > {tmp_path}/a-utf8.csv (in Python" in str(caught.value)
    packed = write(tmp_path, "b.csv.gz", gzip.compress(path.read_bytes()))
    with pytest.raises(ReaderError, match=r"Unpack it, then convert .* /[^ ]*/b\.csv > /[^ ]*/b-utf8\.csv"):
        drain(read_lines(packed))


@pytest.mark.parametrize("encoding", ["utf-16", "nonsense", "rot13"])
def test_an_encoding_in_which_lines_cannot_be_found_is_refused(tmp_path, encoding):
    with pytest.raises(ReaderError, match="cp1252"):
        drain(read_lines(write(tmp_path, "a", b"x"), encoding=encoding))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("a\nb".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04rest", "zip"),
        (b"PAR1rest", "Parquet"),
        (b"a\nb\0\n", ":2: .*NUL"),
    ],
)
def test_what_is_no_text_is_called_by_its_name(tmp_path, data, found):
    with pytest.raises(ReaderError, match=found):
        drain(read_lines(write(tmp_path, "a", data)))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_packed_file_that_is_cut_off_or_damaged_is_said_to_be(tmp_path, pack):
    whole = pack(bytes(range(32, 127)) * 1000)
    for data in (whole[: len(whole) // 2], whole[:20] + b"x" * 20 + whole[40:]):
        with pytest.raises(ReaderError, match="damaged or cut off"):
            drain(read_lines(write(tmp_path, "a", data)))


def test_a_missing_file_and_a_folder_are_said_to_be(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ReaderError, match="expected a file that can be read"):
            drain(read_lines(path))


def test_a_line_without_end_stops_at_the_bound_and_in_its_memory(tmp_path):
    path = write(tmp_path, "a.gz", gzip.compress(b"short\n" + b"x" * (64 * MIB), mtime=0))

    def read() -> None:
        with pytest.raises(ReaderError, match=r"a\.gz:2: expected a line of at most 1,048,576 bytes"):
            drain(read_lines(path, max_line_bytes=MIB))

    assert peak(read) < 8 * MIB


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_bomb_is_refused_in_constant_memory(tmp_path, pack, monkeypatch):
    monkeypatch.setattr(text, "FREE_BYTES", 8 * MIB)
    path = write(tmp_path, "bomb", pack((b"x" * 99 + b"\n") * (400_000)))

    def read() -> None:
        with pytest.raises(ReaderError, match=r"at most 200 times its size.*unpack it first"):
            drain(read_lines(path))

    assert peak(read) < 12 * MIB  # bzip2 unpacks blocks of 900 kB


def test_what_shrinks_like_real_text_is_no_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "FREE_BYTES", 1000)
    path = write(tmp_path, "a.gz", gzip.compress("".join(f"Q{i}\tname {i * i}\n" for i in range(20_000)).encode()))
    assert drain(read_lines(path)) == 20_000


def test_bytes_come_unpacked(tmp_path):
    with open_unpacked(write(tmp_path, "a", gzip.compress(b"abc", mtime=0))) as file:
        assert file.read() == b"abc"


def test_a_long_file_is_never_in_memory(tmp_path):
    path = write(tmp_path, "a.txt", "a line of some length\n" * 100_000)
    assert peak(lambda: drain(read_lines(path))) < MIB
