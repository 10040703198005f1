"""What is wrong with an artifact, collected."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from knowledge_plugin.errors import KnowledgePluginError


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        severity: ``"error"``: the artifact does not work, or is not what it says. ``"warning"``: it works, but others
            cannot find it, or do not know what they may do with it.
        where: The file, from the folder of the artifact.
        message: What was expected and what was found.
    """

    severity: Literal["error", "warning"]
    where: str
    message: str


class Findings:
    """Collects what is wrong with the files of one folder.

    Args:
        folder: The folder. Messages name files from here.
        prefix: Put before the names of files.
        found: Where to collect.
    """

    def __init__(self, folder: Path, prefix: str = "", found: list[Finding] | None = None) -> None:
        self.folder = folder
        self.found: list[Finding] = [] if found is None else found
        self._prefix = prefix

    def within(self, folder: Path, prefix: str) -> Findings:
        """Return a collector into the same list, for an artifact that belongs to this one."""
        return Findings(folder, self._prefix + prefix, self.found)

    def error(self, where: str, message: object) -> None:
        """Note an error in a file."""
        self._add("error", where, message)

    def warning(self, where: str, message: object) -> None:
        """Note something less than an error in a file."""
        self._add("warning", where, message)

    @contextmanager
    def catching(self, where: str) -> Iterator[None]:
        """Note an error of ours, and go on after the block."""
        try:
            yield
        except KnowledgePluginError as error:
            self.error(where, error)

    def _add(self, severity: Literal["error", "warning"], where: str, message: object) -> None:
        text = str(message)
        for folder in (self.folder.absolute(), self.folder):  # which whoever asked knows
            text = text.replace(f"{folder}{os.sep}", "").replace(f"{folder}: ", "")
        self.found.append(Finding(severity, (self._prefix + where)[:200], text))
