"""Triples: TSV, CSV, N-Triples and Turtle."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from knowledge_plugin.building.readers.text import open_unpacked, read_lines
from knowledge_plugin.errors import MissingDependencyError, ReaderError

MAX_TURTLE_BYTES = 2**28
_HEADERS = {("head", "relation", "tail"), ("subject", "predicate", "object"), ("h", "r", "t"), ("s", "p", "o")}
# The statement that makes up nearly all of a graph: three IRIs without an escape. Everything else goes to rdflib.
_THREE_IRIS = re.compile(r'\s*<([^<>"{}|^`\\\s]*)>\s*<([^<>"{}|^`\\\s]*)>\s*<([^<>"{}|^`\\\s]*)>\s*\.\s*(?:#.*)?')


class Triple(NamedTuple):
    """One edge of a graph: head, relation and tail by their ids."""

    head: str
    relation: str
    tail: str


def read_tsv(path: str | Path, *, delimiter: str = "\t", encoding: str = "utf-8") -> Iterator[Triple]:
    """Yield the triples of a file with head, relation and tail on each line, and tabs between them.

    Quotes mean nothing. Blank lines are passed over, and a first line "head relation tail" (or "subject predicate
    object") is a header.

    Raises:
        ReaderError: With file and line: other than three cells, or a blank one.
    """
    for number, line in read_lines(path, encoding=encoding):
        if line.strip():
            yield from _triple(f"{path}:{number}", number, line.split(delimiter))


def read_csv(path: str | Path, *, delimiter: str = ",", encoding: str = "utf-8") -> Iterator[Triple]:
    """Yield the triples of a CSV file; cells may stand in quotes, but not go over several lines.

    Raises:
        ReaderError: As for :func:`read_tsv`, or a quote that is not closed on its line.
    """
    for number, line in read_lines(path, encoding=encoding):
        if not line.strip():
            continue
        try:
            cells = next(csv.reader([line], delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise ReaderError(f"{path}:{number}: quotes that do not pair up ({error}): {line!r:.80}.") from error
        yield from _triple(f"{path}:{number}", number, cells)


def _triple(where: str, number: int, cells: list[str]) -> Iterator[Triple]:
    cells = [cell.strip() for cell in cells]
    if len(cells) != 3 or not all(cells):
        raise ReaderError(f"{where}: expected head, relation and tail, found {len(cells)} cells: {cells!r:.200}.")
    if number > 1 or tuple(cell.lower() for cell in cells) not in _HEADERS:
        yield Triple(*cells)


def read_ntriples(
    path: str | Path, *, prefixes: Mapping[str, str] | None = None, literals: bool = False
) -> Iterator[Triple]:
    """Yield the triples of an N-Triples file, a line at a time.

    Args:
        path: The file, also packed with gzip or bzip2.
        prefixes: How to shorten IRIs: ``{"wikidata": "http://www.wikidata.org/entity/"}`` makes ``wikidata:Q64``.
        literals: Also the triples whose tail is a text or a number. They say nothing of the graph.

    Raises:
        ReaderError: With file and line: not N-Triples. Triples with a blank node are left out: it has no id.
        MissingDependencyError: rdflib is not installed.
    """
    rdflib, parse = _rdflib(), _statement_parser()
    shorten = Shortener(prefixes)
    for number, line in read_lines(path):
        if match := _THREE_IRIS.fullmatch(line):
            yield Triple(*map(shorten, match.groups()))
            continue
        try:
            statement = parse(line)
        except (rdflib.exceptions.ParserError, ValueError) as error:
            raise ReaderError(f"{path}:{number}: expected a triple in N-Triples: {error!s:.200}.") from None
        if statement is not None and (triple := _from_rdf(statement, shorten, literals)):
            yield triple


def read_turtle(
    path: str | Path, *, prefixes: Mapping[str, str] | None = None, literals: bool = False
) -> Iterator[Triple]:
    """Yield the triples of a Turtle file. Turtle cannot be read a line at a time: the whole graph is in memory.

    Arguments and errors as for :func:`read_ntriples`; the file may have at most :data:`MAX_TURTLE_BYTES`.
    """
    rdflib = _rdflib()
    with open_unpacked(path) as file:
        data = file.read(MAX_TURTLE_BYTES + 1)
    if len(data) > MAX_TURTLE_BYTES:
        raise ReaderError(
            f"{path}: expected Turtle of at most {MAX_TURTLE_BYTES:,} bytes, found more. Convert it to N-Triples, "
            "which is read line by line: rapper -i turtle -o ntriples FILE > FILE.nt"
        )
    graph = rdflib.Graph(bind_namespaces="none")
    try:
        graph.parse(data=data, format="turtle", publicID="about:blank")
    except Exception as error:  # rdflib's parser raises whatever it stumbled over
        line = getattr(error, "lines", None)
        where = f"{path}:{line + 1}" if isinstance(line, int) else str(path)
        reason = " ".join(str(getattr(error, "message", error)).split())
        raise ReaderError(f"{where}: expected Turtle: {reason:.300}") from error
    shorten = Shortener(prefixes)
    for statement in graph:
        if triple := _from_rdf(statement, shorten, literals):
            yield triple


class Shortener:
    """Writes IRIs as ``prefix:rest``; of several namespaces that fit, the longest is taken."""

    def __init__(self, prefixes: Mapping[str, str] | None) -> None:
        self._prefixes = sorted((prefixes or {}).items(), key=lambda item: -len(item[1]))

    def __call__(self, iri: str) -> str:
        """Return the IRI, shortened where a namespace fits."""
        for prefix, namespace in self._prefixes:
            if iri.startswith(namespace) and len(iri) > len(namespace):
                return f"{prefix}:{iri[len(namespace) :]}"
        return str(iri)  # rdflib's own are larger


def _rdflib() -> Any:
    try:
        import rdflib
        import rdflib.exceptions
    except ModuleNotFoundError as error:
        raise MissingDependencyError("readers", "rdflib") from error
    return rdflib


def _statement_parser():  # type: ignore[no-untyped-def]
    from rdflib.plugins.parsers.ntriples import W3CNTriplesParser

    found: list[tuple[Any, Any, Any]] = []

    class Sink:
        def triple(self, head: Any, relation: Any, tail: Any) -> None:
            found.append((head, relation, tail))

    parser = W3CNTriplesParser(Sink())  # type: ignore[arg-type]

    def parse(line: str) -> tuple[Any, Any, Any] | None:
        found.clear()
        parser.line = line
        parser.parseline({})  # blank nodes are left out, so nobody need remember their names
        return found[0] if found else None

    return parse


def _from_rdf(statement: tuple[Any, Any, Any], shorten: Shortener, literals: bool) -> Triple | None:
    from rdflib import Literal, URIRef

    head, relation, tail = statement
    if not isinstance(head, URIRef):
        return None
    if isinstance(tail, URIRef):
        return Triple(shorten(head), shorten(relation), shorten(tail))
    return Triple(shorten(head), shorten(relation), str(tail)) if literals and isinstance(tail, Literal) else None
