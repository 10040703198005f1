"""From the fields of a row to an entity: one place for what a table may say, whatever its format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from knowledge_plugin.errors import KnowledgeBaseError, ReaderError
from knowledge_plugin.knowledge_base.entity import Entity

COLUMNS = ("id", "label", "aliases", "description", "types", "popularity")
REQUIRED = ("id", "label")
MAX_NAME_CHARS = 10_000
MAX_DESCRIPTION_CHARS = 100_000
MAX_LISTED = 100_000


def match_columns(where: str, found: Iterable[str], columns: Mapping[str, str] | None = None) -> dict[str, str]:
    """Say in which column of a table each field is.

    Args:
        where: The place, for messages.
        found: What the table calls its columns; case and blanks around a name do not matter.
        columns: What the table calls a field, where that is not the field's own name: ``{"label": "city"}``.

    Returns:
        Field to column, for the fields that are there.

    Raises:
        ReaderError: No id, no label, or a column that is there twice.
    """
    wanted = {field: field for field in COLUMNS} | dict(columns or {})
    if unknown := sorted(set(wanted) - set(COLUMNS)):
        raise ReaderError(f"columns: expected some of {', '.join(COLUMNS)}, found {', '.join(unknown)[:200]}.")
    names = list(found)
    places: dict[str, list[str]] = {}
    for name in names:
        places.setdefault(str(name).strip().lower(), []).append(name)
    matched: dict[str, str] = {}
    for field, name in wanted.items():
        candidates = places.get(name.strip().lower(), [])
        if len(candidates) > 1:
            raise ReaderError(f"{where}: expected one column {name!r}, found {len(candidates)}.")
        if candidates:
            matched[field] = candidates[0]
        elif field in REQUIRED or field in (columns or {}):
            shown = ", ".join(map(repr, names[:30])) or "none"
            raise ReaderError(
                f"{where}: expected a column {name!r}, found {shown:.500}. "
                f"Say which column it is: columns={{{field!r}: '...'}}, on the command line --column {field}=..."
            )
    return matched


def make_entity(where: str, values: Mapping[str, Any], *, separator: str = "|", id_prefix: str = "") -> Entity:
    """Make an entity of what a row says.

    Args:
        where: File and line, for messages.
        values: Field to value. Lists may be lists, or texts with ``separator`` between the items. Blank is missing, and
            so is NaN as a number, which is how a data frame writes it.
        separator: See there.
        id_prefix: Put before every id, for example ``"wikidata:"``.

    Raises:
        ReaderError: A blank id, a value of the wrong kind, or a text out of bounds; with its place.
    """
    id = values.get("id")
    if isinstance(id, int) and not isinstance(id, bool):
        id = str(id)
    if not isinstance(id, str) or not id.strip():
        raise ReaderError(f"{where}: expected an id, found {id!r:.80}.")
    values = {field: value for field, value in values.items() if not (isinstance(value, float) and value != value)}
    label = values.get("label")
    description = values.get("description")
    try:
        entity = Entity(
            id_prefix + id.strip(),
            "" if label is None else label.strip() if isinstance(label, str) else label,
            aliases=_listed(values.get("aliases"), separator),
            description=description.strip() or None if isinstance(description, str) else description,
            types=_listed(values.get("types"), separator),
            popularity=_number(values.get("popularity")),
        )
    except KnowledgeBaseError as error:
        raise ReaderError(f"{where}: {error}") from error
    check_bounds(where, entity)
    return entity


def check_bounds(where: str, entity: Entity) -> None:
    """Refuse an entity whose texts are longer than any name or description is.

    Raises:
        ReaderError: With its place.
    """
    for name, texts, most in (
        ("id", (entity.id,), MAX_NAME_CHARS),
        ("label", (entity.label,), MAX_NAME_CHARS),
        ("aliases", entity.aliases, MAX_NAME_CHARS),
        ("types", entity.types, MAX_NAME_CHARS),
        ("description", (entity.description or "",), MAX_DESCRIPTION_CHARS),
    ):
        if len(texts) > MAX_LISTED:
            raise ReaderError(f"{where}: {name}: expected at most {MAX_LISTED:,}, found {len(texts):,}.")
        for text in texts:
            if len(text) > most:
                raise ReaderError(
                    f"{where}: {name}: expected at most {most:,} characters, found {len(text):,}: {text!r:.60} ..."
                )


def _listed(value: Any, separator: str) -> Any:
    if isinstance(value, str):
        value = value.split(separator)
    if not isinstance(value, (list, tuple)):
        return value
    return tuple(
        item.strip() if isinstance(item, str) else item
        for item in value
        if item is not None and item != "" and item == item  # NaN is not
    )


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return value  # Entity says what is wrong with it
