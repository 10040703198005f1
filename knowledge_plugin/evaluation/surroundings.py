"""What surrounds every evaluation: what a model is called, and versions of libraries."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from torch import nn

from knowledge_plugin.config import LIBRARY_NAME, LIBRARY_VERSION
from knowledge_plugin.injection.embeddings import bare_model

TEST = "bootstrap over entities, paired (each draw takes whole entities with all their rows, under every condition)"

_LIBRARIES = ("torch", "transformers", "numpy", "scikit-learn")


def name_of(model: nn.Module) -> str:
    """Return what a checkpoint is called, for people."""
    model = bare_model(model)
    name = getattr(getattr(model, "config", None), "_name_or_path", None)
    # Of a folder its last part alone: where it lies on this machine is nobody's concern.
    return (Path(name).name if Path(name).is_dir() else name) if name else type(model).__name__


def versions() -> dict[str, str]:
    """Return the versions of this package and of the libraries below it that are installed."""
    found = {LIBRARY_NAME: LIBRARY_VERSION}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
