"""Choosing a reader by what a file is called, and where that says nothing by its first bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from knowledge_plugin.building.readers import (
    ontologies,
    published,
    pykeen_result,
    records,
    tables,
    triples,
    vectors,
    wikidata,
    wordnet,
)
from knowledge_plugin.building.readers.text import open_unpacked
from knowledge_plugin.building.readers.triples import Triple
from knowledge_plugin.building.readers.vectors import Vectors
from knowledge_plugin.errors import ReaderError
from knowledge_plugin.knowledge_base.entity import Entity

_Readers = dict[str, Callable[..., Any]]
_ENTITIES: _Readers = {
    ".csv": tables.read_csv,
    ".tsv": tables.read_csv,
    ".jsonl": tables.read_jsonl,
    ".ndjson": tables.read_jsonl,
    ".json": wikidata.read_wikidata,
    ".parquet": tables.read_parquet,
    ".obo": ontologies.read_ontology,
    ".owl": ontologies.read_ontology,
}
_TABLES = (tables.read_csv, tables.read_jsonl, tables.read_parquet)
_TRIPLES: _Readers = {
    ".tsv": triples.read_tsv,
    ".txt": triples.read_tsv,
    ".csv": triples.read_csv,
    ".nt": triples.read_ntriples,
    ".ttl": triples.read_turtle,
    ".json": wikidata.read_wikidata_triples,
    ".obo": ontologies.read_ontology_triples,
    ".owl": ontologies.read_ontology_triples,
}
_VECTORS: _Readers = {
    ".npy": vectors.read_npy,
    ".safetensors": vectors.read_safetensors,
    ".txt": vectors.read_word2vec_text,
    ".vec": vectors.read_word2vec_text,
    ".bin": vectors.read_word2vec_binary,
}
_MAGIC = {b"PAR1": ".parquet", b"\x93NUMPY": ".npy", b"format-version:": ".obo", b"[\n{": ".json"}


def read_entities(path: str | Path, **options: Any) -> Iterator[Entity]:
    """Yield the entities of a file, one at a time.

    Args:
        path: ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``, ``.obo``, ``.owl``, a Wikidata dump (``.json``), each also
            with ``.gz`` or ``.bz2`` (but for Parquet); or a folder with WordNet's ``data.noun`` or the published
            implementation's ``entity_map.txt``. A table with contexts or inferences, and with neither ids nor labels,
            is one of records: see :mod:`~knowledge_plugin.building.readers.records`.
        **options: Of the reader of this format; see its own function.

    Raises:
        ReaderError: No reader for this name, or with file and line, what is wrong.
    """
    folders: _Readers = {"data.noun": wordnet.read_wordnet, published.ENTITY_NAMES: published.read_published_entities}
    reader = _choose(path, "entities", _ENTITIES, folders)
    if reader in _TABLES and records.holds_records(path, options.get("columns")):
        reader = records.read_record_entities
    return reader(path, **options)


def read_triples(path: str | Path, **options: Any) -> Iterator[Triple]:
    """Yield the triples of a file, one at a time.

    Args:
        path: ``.tsv``, ``.csv``, ``.nt``, ``.ttl``, ``.obo``, ``.owl``, a Wikidata dump (``.json``), each also with
            ``.gz`` or ``.bz2``; or a folder with WordNet's ``data.noun``.
        **options: Of the reader of this format; see its own function.

    Raises:
        ReaderError: No reader for this name, or with file and line, what is wrong.
    """
    return _choose(path, "triples", _TRIPLES, {"data.noun": wordnet.read_wordnet_triples})(path, **options)


def read_vectors(path: str | Path, **options: Any) -> Vectors:
    """Read vectors and their ids, mapped from disk where the format allows it.

    Args:
        path: ``.npy`` or ``.safetensors`` with a list of ids beside it, word2vec's ``.txt``, ``.vec`` or ``.bin``; or
            a folder that PyKEEN wrote, or with the published implementation's ``entity2id.txt``.
        **options: Of the reader of this format; see its own function.

    Raises:
        ReaderError: No reader for this name, or with file and line, what is wrong.
    """
    folders: _Readers = {
        pykeen_result.MODEL: pykeen_result.read_pykeen,
        published.ENTITY_IDS: published.read_published_vectors,
    }
    return _choose(path, "vectors", _VECTORS, folders)(path, **options)


def _choose(path: str | Path, what: str, readers: _Readers, folders: _Readers) -> Callable[..., Any]:
    path = Path(path)
    if path.is_dir():
        for name, reader in folders.items():
            if (path / name).is_file():
                return reader
        raise ReaderError(f"{path}: expected a folder with {' or '.join(folders)}, found none of them.")
    if not path.is_file():
        raise ReaderError(f"{path}: expected a file or a folder, found nothing there.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in (".gz", ".bz2"):
        suffixes.pop()
    if suffixes and (found := readers.get(suffixes[-1])):
        return found
    if found := _by_content(path, readers):
        return found
    raise ReaderError(
        f"{path}: expected a file of {what} that ends in {', '.join(readers)} (or these with .gz or .bz2), found "
        f"{''.join(suffixes[-1:]) or 'no ending'!r}. Call the reader of its format by name: "
        "knowledge_plugin.building.readers"
    )


def _by_content(path: Path, readers: _Readers) -> Callable[..., Any] | None:
    with open_unpacked(path) as file:
        head = file.read(16)
    for magic, suffix in _MAGIC.items():
        if head.startswith(magic):
            return readers.get(suffix)
    return None
