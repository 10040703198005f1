"""Ontologies in OBO and OWL, through pronto."""

from __future__ import annotations

import io
import warnings
from collections.abc import Collection, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from knowledge_plugin.building.readers.fields import check_bounds
from knowledge_plugin.building.readers.text import open_unpacked
from knowledge_plugin.building.readers.triples import Triple
from knowledge_plugin.errors import KnowledgeBaseError, MissingDependencyError, ReaderError
from knowledge_plugin.knowledge_base.entity import Entity

_PIECE = 2**20
MAX_ONTOLOGY_BYTES = 2**28  # pronto takes up to forty-five times as much memory
SCOPES = ("EXACT", "RELATED", "NARROW", "BROAD")


def read_ontology(
    path: str | Path, *, scopes: Collection[str] = ("EXACT",), max_bytes: int = MAX_ONTOLOGY_BYTES
) -> Iterator[Entity]:
    """Yield the terms of an ontology: id, name, synonyms as aliases, definition, namespace as type.

    Obsolete terms, and terms without a name (which belong to other ontologies), are left out. The whole ontology is
    in memory while it is read; what it imports is not fetched.

    Args:
        path: The file, in OBO, OWL (RDF/XML) or OBO graphs (JSON); also packed.
        scopes: Which synonyms are other names of the same thing: ``"EXACT"``, ``"RELATED"``, ``"NARROW"``, ``"BROAD"``.
        max_bytes: How large the unpacked file may be. Reading takes up to forty-five times as much memory.

    Raises:
        ReaderError: Not such a file (with its line, where pronto says it), or larger than ``max_bytes``.
        MissingDependencyError: pronto is not installed.
    """
    if isinstance(scopes, str) or (unknown := sorted(set(scopes) - set(SCOPES))):
        found = scopes if isinstance(scopes, str) else ", ".join(unknown)
        raise ReaderError(f"scopes: expected a list of some of {', '.join(SCOPES)}, found {found!r:.80}.")
    for term in _terms(path, max_bytes):
        where = f"{path}: {term.id}"
        try:
            entity = Entity(
                term.id,
                term.name,
                aliases=tuple(sorted({synonym.description for synonym in term.synonyms if synonym.scope in scopes})),
                description=str(term.definition) if term.definition else None,
                types=(term.namespace,) if term.namespace else (),
            )
        except KnowledgeBaseError as error:
            raise ReaderError(f"{where}: {error}") from error
        check_bounds(where, entity)
        yield entity


def read_ontology_triples(path: str | Path, *, max_bytes: int = MAX_ONTOLOGY_BYTES) -> Iterator[Triple]:
    """Yield the ``is_a`` edges of an ontology and its other relationships, between the terms of :func:`read_ontology`.

    Only the edges that the file states are followed, so circles in ``is_a`` do no harm.

    Raises:
        ReaderError, MissingDependencyError: As for :func:`read_ontology`.
    """
    terms = _terms(path, max_bytes)
    known = {term.id for term in terms}
    for term in terms:
        for parent in sorted(other.id for other in term.superclasses(distance=1, with_self=False)):
            if parent in known:
                yield Triple(term.id, "is_a", parent)
        for relation, others in sorted(term.relationships.items(), key=lambda item: item[0].id):
            for tail in sorted(other.id for other in others):
                if tail in known:
                    yield Triple(term.id, relation.id, tail)


def _terms(path: str | Path, max_bytes: int) -> list[Any]:
    ontology = _load(path, max_bytes)
    return [term for term in ontology.terms() if not term.obsolete and (term.name or "").strip()]


def _load(path: str | Path, max_bytes: int) -> Any:
    try:
        import pronto
    except ModuleNotFoundError as error:
        raise MissingDependencyError("readers", "pronto") from error
    with open_unpacked(path) as file:
        # Not at once: Python would make room for all that may come.
        pieces = iter(partial(file.read, _PIECE), b"")
        data = b"".join(islice(pieces, max_bytes // _PIECE + 1))
    if len(data) > max_bytes:
        raise ReaderError(
            f"{path}: expected an ontology of at most {max_bytes:,} bytes, found a larger one. Pass max_bytes, if this "
            "machine has forty-five times as much memory."
        )
    _check_text(path, data)
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.lstrip().startswith((b"<", b"{")):
        data += _missing(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pronto's remarks on what it does not keep
            # import_depth=0: a file must not make this machine fetch others.
            return pronto.Ontology(io.BufferedReader(io.BytesIO(data)), import_depth=0)
    except Exception as error:  # of fastobo, of the XML parser, or of pronto's own
        line = getattr(error, "lineno", None) or (getattr(error, "position", None) or (None,))[0]
        where = f"{path}:{line}" if isinstance(line, int) else str(path)
        raise ReaderError(f"{where}: expected an ontology in OBO, OWL or OBO graphs: {error!s:.300}") from error


def _missing(data: bytes) -> bytes:
    """Declare what an OBO file refers to and leaves to its imports, which are not fetched: pronto needs to know it."""
    defined: dict[bytes, set[bytes]] = {b"[Term]": set(), b"[Typedef]": set()}
    named: dict[bytes, set[bytes]] = {b"[Term]": set(), b"[Typedef]": set()}
    stanza = b""
    for line in data.splitlines():
        if line.startswith(b"["):
            stanza = line.strip()
            continue
        tag, _, rest = line.partition(b":")
        cells = rest.split()
        if not cells or stanza not in defined:
            continue
        if tag == b"id":
            defined[stanza].add(cells[0])
        elif tag == b"is_a":
            named[stanza].add(cells[0])
        elif tag == b"relationship" and len(cells) > 1:
            named[b"[Typedef]"].add(cells[0])
            named[stanza].add(cells[1])
    missing = [(stanza, id) for stanza, ids in named.items() for id in sorted(ids - defined[stanza])]
    return b"".join(b"\n\n%s\nid: %s\n" % (stanza, id) for stanza, id in missing)


def _check_text(path: str | Path, data: bytes) -> None:
    """Find the line of a byte that is no UTF-8, which the parsers would either guess at or not place."""
    try:
        data.decode("utf-8")
        place = data.find(b"\0")
        what = "a NUL byte"
    except UnicodeDecodeError as error:
        place, what = error.start, f"the byte 0x{data[error.start]:02x}"
    if place >= 0:
        raise ReaderError(f"{path}:{data.count(10, 0, place) + 1}: expected text in UTF-8, found {what}.")
