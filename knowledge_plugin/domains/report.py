"""What a stream of domains came to: who knows which domain, after which."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from knowledge_plugin.reports import finite, save_text

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class StreamReport:
    """What :func:`knowledge_plugin.domains.follow_stream` measured. ``print(report)`` shows a table.

    Attributes:
        domains: Names of the ``T`` domains, the labelled source first.
        accuracy: Of each system the matrix ``R``, ``T`` rows of ``T`` shares: ``R[i][j]`` is the accuracy on domain
            ``j`` when domain ``i`` was the last that was learned.
        rows: How many rows each domain was asked.
        frozen: Name of the system that learns the source and nothing else.
        seed: Of everything random.

    Example:
        >>> report = StreamReport(("a", "b"), {"frozen": ((0.9, 0.5),) * 2, "it": ((0.9, 0.5), (0.8, 0.7))}, (10, 10),
        ...                       "frozen", 0)
        >>> round(report.final("it"), 2), round(report.backward("it"), 2), round(report.gain("it"), 2)
        (0.75, -0.1, 0.05)
    """

    domains: tuple[str, ...]
    accuracy: Mapping[str, Matrix]
    rows: tuple[int, ...]
    frozen: str
    seed: int

    def final(self, system: str) -> float:
        """Return the mean accuracy over all domains, once all were followed."""
        return _mean(self.accuracy[system][-1])

    def margin(self, system: str) -> float:
        """Return half the width of the 95 % interval of :meth:`final`, by the normal approximation over rows asked."""
        shares = self.accuracy[system][-1]
        variance = sum(share * (1 - share) / rows for share, rows in zip(shares, self.rows, strict=True))
        return 1.96 * math.sqrt(variance) / len(shares)

    def arrival(self, system: str) -> float:
        """Return the mean accuracy on each unlabelled domain right after it was followed."""
        return _mean([self.accuracy[system][j][j] for j in range(1, len(self.domains))])

    def backward(self, system: str) -> float:
        """Return backward transfer: ``mean over j < T of R[T][j] - R[j][j]``; below 0 it is forgetting.

        As Lopez-Paz and Ranzato have it (NeurIPS 2017, "Gradient Episodic Memory", section 2).
        """
        r = self.accuracy[system]
        return _mean([r[-1][j] - r[j][j] for j in range(len(self.domains) - 1)])

    def forward(self, system: str) -> float:
        """Return forward transfer: how much better each domain is before it is followed than by the frozen head.

        ``mean over j > 0 of R[j - 1][j] - frozen[j]``; in GEM the frozen head is a random one. The first of them is 0
        for whatever starts from the frozen head.
        """
        r, frozen = self.accuracy[system], self.accuracy[self.frozen][0]
        return _mean([r[j - 1][j] - frozen[j] for j in range(1, len(self.domains))])

    def gain(self, system: str) -> float:
        """Return what a system has more than the frozen head in the end, over all domains."""
        return self.final(system) - self.final(self.frozen)

    def __str__(self) -> str:
        table = Table()
        # As Text: what somebody called a domain is not to be taken for markup.
        for i, head in enumerate(self._header()):
            table.add_column(Text(head), justify="left" if i == 0 else "right", no_wrap=i == 0)
        for line in self._lines():
            table.add_row(*map(Text, line))
        buffer, width = io.StringIO(), max(100, 14 * len(self._header()))
        Console(file=buffer, width=width, color_system=None, force_terminal=False, legacy_windows=False).print(table)
        return f"{self._about()}\n{buffer.getvalue().rstrip()}"

    def to_markdown(self) -> str:
        """Return the same table in Markdown."""
        header = self._header()
        rows = [header, ["---"] + ["--:"] * (len(header) - 1), *self._lines()]
        cells = [[cell.strip().replace("|", "\\|") for cell in row] for row in rows]
        return "\n".join([self._about(), "", *(f"| {' | '.join(row)} |" for row in cells)])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: the matrices, and what is computed of them; a figure that is no number is ``None``."""
        computed = {
            name: {
                "final": self.final(name),
                "margin": self.margin(name),
                "on arrival": self.arrival(name),
                "backward": self.backward(name),
                "forward": self.forward(name),
                "gain": self.gain(name),
            }
            for name in self.accuracy
        }
        return finite(asdict(self) | {"systems": computed})

    def save(self, path: str | Path) -> None:
        """Write the report as JSON, beside and renamed."""
        save_text(path, json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def _about(self) -> str:
        return f"{' -> '.join(self.domains)}: accuracy, % (seed {self.seed}, {sum(self.rows)} rows asked)"

    def _header(self) -> list[str]:
        return ["", "final", "on arrival", "backward", "forward", *(f"final: {name}" for name in self.domains)]

    def _lines(self) -> list[list[str]]:
        return [
            [
                name,
                f"{100 * self.final(name):.1f} ± {100 * self.margin(name):.1f}",
                f"{100 * self.arrival(name):.1f}",
                f"{100 * self.backward(name):+.1f}",
                f"{100 * self.forward(name):+.1f}",
                *(f"{100 * share:.1f}" for share in matrix[-1]),
            ]
            for name, matrix in self.accuracy.items()
        ]


def _mean(values: list[float] | tuple[float, ...]) -> float:
    return sum(values) / len(values)
