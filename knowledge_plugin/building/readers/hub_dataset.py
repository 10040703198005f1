"""Entities of a dataset: from the Hugging Face Hub, a folder, or a ``datasets`` object that is at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from knowledge_plugin.building.readers.entity_rows import EntityRows, match_and_warn
from knowledge_plugin.errors import KnowledgePluginError, MissingDependencyError, ReaderError
from knowledge_plugin.knowledge_base.entity import Entity


def read_dataset(
    dataset: str | Path | Iterable[Mapping[str, Any]],
    *,
    split: str = "train",
    config: str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    columns: Mapping[str, str] | None = None,
    separator: str = "|",
    id_prefix: str = "",
) -> Iterator[Entity]:
    """Yield the entities of a dataset, streamed: nothing is downloaded as a whole.

    Args:
        dataset: A repo on the Hub (``"user/drugs"``), a folder of data files, or any iterable of rows, such as a
            ``datasets.Dataset``.
        split: Which part.
        config: Which configuration of the dataset, if it has several.
        revision: Branch, tag or commit.
        token: Of the Hub.
        columns: What the dataset calls a field: ``{"label": "title"}``. Others as in
            :func:`~knowledge_plugin.building.readers.tables.read_csv`.
        separator: Between aliases, where they are one text.
        id_prefix: Put before every id.

    Raises:
        ReaderError: The dataset cannot be read; or with the row: no such column, a value of the wrong kind, an id
            that was there before, a text out of bounds.
        MissingDependencyError: datasets is not installed, and a name was given.
    """
    name = str(dataset) if isinstance(dataset, (str, Path)) else "dataset"
    rows = _load(name, split, config, revision, token) if isinstance(dataset, (str, Path)) else dataset
    made = EntityRows(name, "row", separator=separator, id_prefix=id_prefix)
    wanted: dict[str, str] | None = None
    for number, row in enumerate(_guarded(name, rows), 1):
        where = f"{name}: row {number}"
        if not isinstance(row, Mapping):
            raise ReaderError(f"{where}: expected a row with named columns, found {type(row).__name__}.")
        if wanted is None:
            wanted = match_and_warn(where, row, columns)
        yield made.entity(number, {field: row.get(column) for field, column in wanted.items()})
    made.finish()


def _load(name: str, split: str, config: str | None, revision: str | None, token: str | bool | None) -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise MissingDependencyError("readers", "datasets") from error
    try:
        return datasets.load_dataset(name, config, split=split, revision=revision, token=token, streaming=True)
    except Exception as error:  # of the Hub, of the network, of the files
        raise ReaderError(f"{name}: expected a dataset with a part {split!r}: {error!s:.300}") from error


def _guarded(name: str, rows: Iterable[Any]) -> Iterator[Any]:
    """The rows, with the errors of whoever fetches them as ours."""
    try:
        yield from rows
    except (KnowledgePluginError, GeneratorExit):
        raise
    except Exception as error:
        raise ReaderError(f"{name}: cannot be read to its end: {error!s:.300}") from error
