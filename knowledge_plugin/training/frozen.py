"""A model that is run in training but does not learn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from knowledge_plugin.modes import modes_kept


@contextmanager
def frozen(model: nn.Module, dropout: float | None = None) -> Iterator[None]:
    """Freeze every parameter of a model, and set the dropout that it runs with in train mode.

    Dropout in the frozen model keeps the mapping from relying on the text around a mention alone (map-tuning's README
    recommends 0.25). Afterwards, everything is as it was.

    Args:
        model: The model.
        dropout: Probability for every dropout of the model, or ``None`` to leave them.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    changed: list[tuple[nn.Module, str, float]] = []
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        if dropout is not None:
            for module, name in _dropouts(model):
                changed.append((module, name, getattr(module, name)))
                setattr(module, name, dropout)
        with modes_kept(model):
            yield
    finally:
        for module, name, value in changed:
            setattr(module, name, value)
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def config_kept(model: nn.Module) -> Iterator[None]:
    """Put the values of a model's config back: Trainer turns ``use_cache`` off, and a loss writes ``problem_type``."""
    config = getattr(model, "config", None)
    before = dict(vars(config)) if config is not None else {}
    try:
        yield
    finally:
        if config is not None:
            vars(config).update(before)


def _dropouts(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Dropout modules, and the plain numbers that attention functions are called with (``attention_dropout``)."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            yield module, "p"
        else:
            for name, value in vars(module).items():
                if "dropout" in name and isinstance(value, float):
                    yield module, name
