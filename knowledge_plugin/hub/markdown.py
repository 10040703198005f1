"""Values of strangers within Markdown: each stays on one line, and is text."""

from __future__ import annotations

import json
import re

# Controls, marks that turn the direction of writing, separators of lines, halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")
_MARKS = re.compile(r"([\\`*_\[\]|~$])")
# What makes a list, a heading or a line of the text that it begins.
_BEGINNING = re.compile(r"\A(\d{1,9}(?=[.)](?:\s|\Z))|(?=[#+\-=]))")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_MAX_LENGTH = 200


def one_line(value: object, max_length: int = _MAX_LENGTH) -> str:
    """Return a value as one line of printable text, cut where it is too long.

    Example:
        >>> one_line("a\\n---\\nb")
        'a --- b'
    """
    text = " ".join(_UNPRINTABLE.sub(" ", str(value)[: 4 * max_length]).split())
    return text if len(text) <= max_length else text[: max_length - 1].rstrip() + "…"


def as_text(value: object) -> str:
    """Return a value as Markdown that shows just that value, within a line or a cell of a table; nothing for ``None``.

    Example:
        >>> as_text("a|b <!-- `c`")
        'a\\\\|b &lt;!-- \\\\`c\\\\`'
    """
    if value is None:
        return ""
    return _BEGINNING.sub(r"\1\\", _MARKS.sub(r"\\\1", one_line(value).translate(_ENTITIES)))


def as_literal(value: object) -> str:
    """Return a value as a Python string on one line, which ends no block of code.

    Example:
        >>> as_literal('it is "Paris"')
        '"it is \\\\"Paris\\\\""'
    """
    return json.dumps(one_line(value), ensure_ascii=False).replace("<", "\\u003c")  # no comment of HTML begins here


def as_slug(value: object) -> str:
    """Return a value as a tag: small letters and digits, with hyphens between; empty if there are none.

    Example:
        >>> as_slug("GeoNames: cities (2026)")
        'geonames-cities-2026'
    """
    return re.sub(r"[\W_]+", "-", one_line(value).lower()).strip("-")[:64].rstrip("-")


def as_size(count: int) -> str:
    """Return a number of bytes for people.

    Example:
        >>> as_size(999), as_size(19_178_616)
        ('999 B', '19.2 MB')
    """
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.95 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} B" if unit == "B" else f"{size:,.1f} {unit}"


def as_figure(value: float) -> str:
    """Return a figure with what digits of it count.

    Example:
        >>> as_figure(0.95654), as_figure(31.234)
        ('0.957', '31.2')
    """
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
