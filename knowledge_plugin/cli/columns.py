"""What a file calls its columns: ``--column FIELD=COLUMN``."""

from __future__ import annotations

import typer


def column_names(options: list[str] | None) -> dict[str, str]:
    """Return columns by field.

    Raises:
        typer.BadParameter: There is no ``=`` in an option.

    Example:
        >>> column_names(["text=sentence", "label=class"])
        {'text': 'sentence', 'label': 'class'}
    """
    named = {}
    for option in options or []:
        field, is_named, name = option.partition("=")
        if not is_named:
            raise typer.BadParameter(f"expected FIELD=COLUMN, found {option!r}", param_hint="--column")
        named[field.strip()] = name
    return named
