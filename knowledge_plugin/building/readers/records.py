"""Records of knowledge: from files to records, and from records to entities."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from knowledge_plugin.building.readers.fields import check_bounds
from knowledge_plugin.building.readers.tables import csv_rows, parquet_rows, parse_object
from knowledge_plugin.building.readers.text import read_lines
from knowledge_plugin.building.records import FIELDS, ROW, TEXT_FIELDS, Record, checked, fact_of, types_of
from knowledge_plugin.errors import ReaderError, RecordError
from knowledge_plugin.knowledge_base.entity import Entity

_EXACT = 2**53  # up to here a float is the whole number that it was
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def read_records(path: str | Path, *, columns: Mapping[str, str] | None = None) -> Iterator[Record]:
    """Yield the records of a file, one at a time.

    Columns, or keys, are those that :func:`~knowledge_plugin.building.write_records` writes, in any order; one of
    context, query, inference and plausibility is enough, and others are left out. What is blank or null is missing.

    Args:
        path: ``.jsonl``, ``.ndjson``, ``.csv``, ``.tsv`` (each also with ``.gz`` or ``.bz2``) or ``.parquet``.
        columns: What the file calls a field: ``{"context": "head", "query": "relation", "inference": "tail"}``. Of JSON
            a row may be without it, but not all of them.

    Raises:
        ReaderError: With file and line or row: another form, none of the fields, no such column, a value of the wrong
            kind, a plausibility outside of 0 to 1, half a provenance, a text out of bounds.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "facts.csv")
        >>> _ = path.write_text("head,tail\\nit rains,it gets wet\\n")
        >>> next(read_records(path, columns={"context": "head", "inference": "tail"})).inference
        'it gets wet'
    """
    if unknown := sorted(set(columns or ()) - set(ROW)):
        raise ReaderError(f"columns: expected some of {', '.join(ROW)}, found {', '.join(unknown)[:200]}.")
    renamed = dict(columns or {})
    match = partial(_match, renamed=renamed)
    kind = _kind(Path(path))
    if kind == ".parquet":
        for number, row in parquet_rows(path, match):
            yield _record(f"{path}: row {number}", row)
    elif kind == ".csv":
        for number, row in csv_rows(path, match, keep_ends=True):
            yield _record(f"{path}:{number}", row)
    elif kind == ".jsonl":
        yield from _jsonl_records(path, renamed)
    else:
        raise ReaderError(
            f"{path}: expected a file of records that ends in .jsonl, .ndjson, .csv, .tsv or .parquet, found "
            f"{Path(path).suffix!r}."
        )


def _jsonl_records(path: str | Path, renamed: dict[str, str]) -> Iterator[Record]:
    unseen, any_rows = dict(renamed), False
    for number, line in read_lines(path):
        if line.strip():
            where, any_rows = f"{path}:{number}", True
            values = parse_object(where, line)
            found = _match(where, list(values), renamed, is_header=False) if values else {}
            for field in unseen.keys() & found.keys():
                del unseen[field]
            yield _record(where, {field: values[key] for field, key in found.items()})
    if unseen and any_rows:
        raise _no_column(f"{path}: in all its rows", unseen)


def read_record_entities(
    path: str | Path, *, columns: Mapping[str, str] | None = None, id_prefix: str = "record:"
) -> Iterator[Entity]:
    """Yield an entity for each context of a file of records: :func:`read_records`, :func:`entities_from_records`.

    Raises:
        ReaderError: As for these two.
    """
    try:
        yield from entities_from_records(read_records(path, columns=columns), id_prefix=id_prefix)
    except RecordError as error:
        raise ReaderError(f"{path}: {error}") from error


def entities_from_records(
    records: Iterable[Record],
    names: Callable[[str], str | None] | None = None,
    *,
    id_prefix: str = "record:",
) -> list[Entity]:
    """Make entities of records: one for each context, described by its inferences, the most plausible first.

    The description is what models read, and holds the facts alone, as "query: inference; inference. query: ...".
    Which of them were generated, by which model and how plausible each is, is said by the types of the entity: they
    travel with a knowledge base through saving, pushing and loading, and ``knowledge-plugin link`` shows them.

    Args:
        records: Those without context or inference make no entity, and a warning counts them.
        names: From a context to the name of what it is about, such as ``{"Zorva is cold": "Zorva"}.get``: contexts
            with the same name are one entity. ``None`` for a context leaves it out. Otherwise a context is its own
            name, and only texts that hold it whole are linked.
        id_prefix: Put before the name, which makes the id.

    Returns:
        In the order in which they first come. Of records that say the same of one entity, one that was written
        counts before one that was generated, and of these the most plausible.

    Raises:
        RecordError: No record makes an entity, or something is no record.
        ReaderError: A description that is too long.

    Example:
        >>> from knowledge_plugin.building import Provenance
        >>> by = Provenance("tiny-t5", generated=True)
        >>> facts = [Record("Zorva is wet", "trade", "baker", 0.2, by), Record("Zorva is wet", "trade", "fisher", 0.9)]
        >>> (entity,) = entities_from_records(facts, {"Zorva is wet": "Zorva"}.get)
        >>> entity.id, entity.description
        ('record:Zorva', 'trade: fisher; baker.')
        >>> entity.generated
        ('generated by tiny-t5, plausibility 0.20: trade: baker',)
    """
    found: dict[str, dict[str, Record]] = {}
    total = without = 0
    for record in checked(records):
        total += 1
        name = record.context if names is None or record.context is None else names(record.context)
        if record.inference is None or not name or not name.strip():
            without += 1
            continue
        same = found.setdefault(name.strip(), {})
        if (other := same.get(fact_of(record))) is None or _rank(record) < _rank(other):
            same[fact_of(record)] = record
    if not found:
        raise RecordError(f"expected a record with a context and an inference, found none among {total}.")
    if without:
        warnings.warn(f"{without} of {total} records have no context, name or inference: left out.", stacklevel=2)
    entities = []
    for name, facts in found.items():
        ordered = sorted(facts.values(), key=_rank)
        entity = Entity(id_prefix + name, name, description=_description(ordered), types=types_of(ordered))
        check_bounds(repr(name[:80]), entity)
        entities.append(entity)
    return entities


def holds_records(path: str | Path, columns: Mapping[str, str] | None = None) -> bool:
    """Say whether a table holds records rather than entities: it has one of their texts, and no id and no label."""
    if columns and set(columns) & set(TEXT_FIELDS):
        return True
    names: Sequence[str] = []
    with suppress(ReaderError, OSError, pa.ArrowException, csv.Error):
        if (kind := _kind(Path(path))) == ".parquet":
            names = pq.read_schema(path).names
        elif kind is not None and (line := next((line for _, line in read_lines(path) if line.strip()), None)):
            names = list(parse_object("", line)) if kind == ".jsonl" else _first_row(line)
    lower = {name.strip().lower() for name in names}
    return bool(lower & set(TEXT_FIELDS)) and not lower & {"id", "label"}


def _first_row(line: str) -> list[str]:
    delimiter = max("\t;,", key=line.count)
    return next(csv.reader([line], delimiter=delimiter), [])


def _kind(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in (".gz", ".bz2"):
        suffixes.pop()
    kinds = {".jsonl": ".jsonl", ".ndjson": ".jsonl", ".csv": ".csv", ".tsv": ".csv", ".parquet": ".parquet"}
    return kinds.get(suffixes[-1]) if suffixes else None


def _match(where: str, found: Sequence[str], renamed: dict[str, str], is_header: bool = True) -> dict[str, str]:
    places: dict[str, list[str]] = {}
    for name in found:
        places.setdefault(str(name).strip().lower(), []).append(name)
    matched = {}
    for field in ROW:
        candidates = places.get(renamed.get(field, field).strip().lower(), [])
        if len(candidates) > 1:
            raise ReaderError(f"{where}: expected one column {field!r}, found {len(candidates)}.")
        if candidates:
            matched[field] = candidates[0]
    if not matched:
        shown = ", ".join(map(repr, found[:30])) or "none"
        raise ReaderError(
            f"{where}: expected one of {', '.join(FIELDS)}, found {shown:.500}. Say which it is: "
            "columns={'context': '...'}, on the command line --column context=..."
        )
    if is_header and (missing := {field: name for field, name in renamed.items() if field not in matched}):
        raise _no_column(f"{where}: among {', '.join(map(repr, found[:30])):.500}", missing)
    return matched


def _no_column(where: str, missing: Mapping[str, str]) -> ReaderError:
    field, name = next(iter(missing.items()))
    return ReaderError(f"{where}: expected a column {name!r}, which columns={{...}} calls {field}, found none.")


def _record(where: str, row: dict[str, Any]) -> Record:
    values = {name: None if isinstance(value, str) and not value.strip() else value for name, value in row.items()}
    try:
        if isinstance(number := values.get("plausibility"), str):
            values["plausibility"] = float(number)
        if isinstance(generated := values.get("generated"), str):
            values["generated"] = _BOOLEANS.get(generated.strip().lower(), generated)
        values["seed"] = _whole(values.get("seed"))
        return Record.from_row(values)
    except (RecordError, ValueError) as error:
        raise ReaderError(f"{where}: {error!s:.300}") from error


def _whole(value: Any) -> Any:
    """Return a whole number that stands there as a text, or as ``1.0``, which pandas makes of it beside gaps."""
    if isinstance(value, str):
        value = float(value) if "." in value else int(value)
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


def _rank(record: Record) -> tuple[bool, float]:
    """What was written comes first, then what is most plausible; what nobody judged comes last."""
    generated = record.provenance is not None and record.provenance.generated
    return generated, -(record.plausibility if record.plausibility is not None else -1.0)


def _description(records: Sequence[Record]) -> str:
    by_query: dict[str | None, dict[str, None]] = {}
    for record in records:
        by_query.setdefault(record.query, {})[record.inference or ""] = None
    return " ".join(
        ("" if query is None else f"{query}: ") + "; ".join(inferences) + ("" if query is None else ".")
        for query, inferences in by_query.items()
    )
