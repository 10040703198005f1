"""What a build made, in words worth pasting into a card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class BuildSummary:
    """What :func:`build_knowledge_base` made. ``str()`` of it is a table in Markdown.

    Attributes:
        name: What the knowledge base is called.
        entities: How many it holds.
        without_vector: How many of the file stayed out because they have no vector.
        triples: How many were read.
        aliases: Rows of the alias table: every name of every entity.
        other_names: How many of these are not the label of their entity.
        described: How many entities have a description.
        names: Different names that can be looked up.
        ambiguous: How many of these lead to more than one entity.
        most_ambiguous: The names that lead to the most entities, and to how many.
        id_scheme: What the ids mean.
        license: Licence of the knowledge.
        version: Version or dump date.
        embedder: How the vectors were made.
        measures: What was measured of that.
        dim: Width of a vector.
        dtype: How vectors are stored.
        size: Bytes of all files.
        seconds: What each stage took; stages that were done before take none.
    """

    name: str
    entities: int
    without_vector: int
    triples: int
    aliases: int
    other_names: int
    described: int
    names: int
    ambiguous: int
    most_ambiguous: tuple[tuple[str, int], ...]
    id_scheme: str | None
    license: str | None
    version: str | None
    embedder: str
    measures: Mapping[str, float]
    dim: int
    dtype: str
    size: int
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def ambiguity_rate(self) -> float:
        """Share of names that lead to more than one entity."""
        return self.ambiguous / self.names if self.names else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return asdict(self) | {"ambiguity_rate": self.ambiguity_rate}

    def __str__(self) -> str:
        often = ", ".join(f"{name} ({count})" for name, count in self.most_ambiguous[:5])
        ambiguity = f"{self.ambiguous:,} of {self.names:,} ({100 * self.ambiguity_rate:.1f} %)"
        measured = "".join(f"; {name} {value:.4g}" for name, value in self.measures.items())
        dropped = f"; {self.without_vector:,} more without a vector stayed out" if self.without_vector else ""
        rows = {
            "entities": f"{self.entities:,}{dropped}",
            "triples": f"{self.triples:,}" if self.triples else None,
            "aliases": f"{self.aliases:,}, of which {self.other_names:,} besides labels",
            "descriptions": f"of {self.described:,} entities",
            "ambiguous names": ambiguity + (f": {often}" if often else ""),
            "ids": self.id_scheme,
            "licence": self.license or "none stated",
            "version": self.version or "none stated",
            "vectors": f"{self.dim} numbers each, {self.dtype}, {self.embedder}{measured}",
            "size": f"{self.size / 1e6:,.1f} MB",
        }
        lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items() if value is not None]
        return "\n".join([f"| {_cell(self.name)} | |", "|---|---|", *lines])


def _cell(value: str) -> str:
    return " ".join(value.split()).replace("|", "\\|")
