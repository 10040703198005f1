"""PyKEEN, loaded beside whatever else is loaded."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from knowledge_plugin.errors import MissingDependencyError

_MODULES = ("evaluation", "models", "stoppers", "training", "triples")


def import_pykeen() -> None:
    """Load the modules of PyKEEN that a graph embedding is made with.

    Raises:
        MissingDependencyError: PyKEEN is not installed.
    """
    try:
        with _tables_of_own_classes():
            for name in _MODULES:
                importlib.import_module(f"pykeen.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("pykeen", "class_resolver"):
            raise
        raise MissingDependencyError("kge", "pykeen") from error


@contextmanager
def _tables_of_own_classes() -> Iterator[None]:
    """Keep other packages' classes out of the tables of names that PyKEEN makes while it is loaded.

    Its table of optimizers holds each name once. class-resolver means to leave out classes of other packages than the
    base's, but compares a class with its parent alone: those of bitsandbytes, whose parents are bitsandbytes' own, come
    in under the names of torch's, and loading fails. transformers loads bitsandbytes, by way of peft, wherever it is
    installed, so that PyKEEN could be used in hardly any process with a model.
    """
    from class_resolver import api

    every = api.get_subclasses

    def own(cls: type, *, exclude_external: bool = True, **options: Any) -> Iterator[type]:
        for found in every(cls, exclude_external=exclude_external, **options):
            if not exclude_external or found.__module__.split(".")[0] == cls.__module__.split(".")[0]:
                yield found

    api.get_subclasses = own
    try:
        yield
    finally:
        api.get_subclasses = every
