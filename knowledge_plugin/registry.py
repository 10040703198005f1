"""The open registry of injection methods: the ways in which a plugin's knowledge enters a model.

``config.injection.method`` of a plugin names one. Those of this package are registered by
:mod:`knowledge_plugin.methods`; another package registers its own by an entry point::

    [project.entry-points."knowledge_plugin.methods"]
    my-method = "my_package:METHOD"  # a Method
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from knowledge_plugin.errors import ConfigError, TrainingError

GROUP = "knowledge_plugin.methods"


@dataclass(frozen=True)
class Method:
    """One way in.

    Attributes:
        name: What ``config.injection.method`` says.
        config: The section ``injection`` of ``config.json``: a subclass of
            :class:`~knowledge_plugin.config.InjectionConfig`.
        configure: From a model, a knowledge base and whatever settings the method has, to the sections ``mapping`` and
            ``injection`` of an untrained plugin; settings are its keyword-only arguments.
        network: From the config of a plugin to its mapping network, untrained.
        hook: From the config, the placed vectors, the mapping network, the model and the first free token id to what
            :meth:`~knowledge_plugin.KnowledgePlugin.attach` hangs on the model.
        objectives: By name, what the network learns from; each an :class:`~knowledge_plugin.objectives.base.Objective`.
        origin: In words, for docs and cards: whose method it is, and that it differs from what they published.
        citation: BibTeX of their paper.
        reads: For cards, what a checkpoint does with it: "Attached, a frozen checkpoint ..."; empty where that depends
            on the form in which entities are put into a text.
        initialise: What gives an untrained network, by its config, a start from the model; ``None`` if nothing does.
    """

    name: str
    config: type
    configure: Callable[..., tuple[Any, Any]]
    network: Callable[..., Any]
    hook: Callable[..., Any]
    objectives: Mapping[str, Any]
    origin: str
    citation: str
    reads: str = ""
    initialise: Callable[..., None] | None = None

    def check_settings(self, names: Iterable[str]) -> None:
        """Refuse settings that the method does not have, before a model is looked at.

        Raises:
            ConfigError: There is one.
        """
        parameters = inspect.signature(self.configure).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return
        known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
        if wrong := sorted(set(names) - set(known)):
            expected = f"expected one of {', '.join(map(repr, known))}" if known else "it has none"
            raise ConfigError(f"settings of {self.name}: {expected}; found {wrong[0]!r:.80}.")

    def find_objective(self, name: str) -> Any:
        """Return what the network learns from, by its name.

        Raises:
            TrainingError: The method has no such objective.
        """
        if name not in self.objectives:
            known = ", ".join(map(repr, self.objectives))
            others = [repr(method.name) for method in _METHODS.values() if name in method.objectives]
            whose = f", which {' and '.join(others)} {'has' if len(others) == 1 else 'have'}" if others else ""
            raise TrainingError(f"objective: expected one of {known} (of {self.name}), found {name!r:.80}{whose}.")
        return self.objectives[name]


_METHODS: dict[str, Method] = {}


def register_method(method: Method) -> None:
    """Make a method known.

    Raises:
        ConfigError: Another one has its name.
    """
    if _METHODS.setdefault(method.name, method) is not method:
        raise ConfigError(f"there is an injection method called {method.name!r} already. Give yours another name.")


def find_method(name: object) -> Method:
    """Return a method by its name; packages that are installed are asked only for one that is not known yet.

    Raises:
        ConfigError: Nobody knows it, or what a package brings under this name cannot be loaded or is none.
    """
    if isinstance(name, str) and name not in _METHODS:
        for entry in entry_points(group=GROUP, name=name):
            register_method(_load(entry))
    if not isinstance(name, str) or name not in _METHODS:
        known = sorted({*_METHODS, *(entry.name for entry in entry_points(group=GROUP))})
        raise ConfigError(
            f"method: expected one of {', '.join(map(repr, known))}, found {name!r:.80}. A method of another package "
            "is known once that package is installed."
        )
    return _METHODS[name]


def _load(entry: EntryPoint) -> Method:
    package = entry.dist.name if entry.dist is not None else "an unknown package"
    said = f"the injection method {entry.name!r:.80} of {package} (entry point {entry.value!r:.200} in {GROUP})"
    try:
        method = entry.load()
    except Exception as error:  # whatever happens in a stranger's import
        raise ConfigError(
            f"{said} cannot be loaded: {type(error).__name__}: {error!s:.300}. Install {package} anew, or tell its "
            "authors."
        ) from error
    if not isinstance(method, Method) or method.name != entry.name:
        found = f"one called {method.name!r:.80}" if isinstance(method, Method) else f"{type(method).__name__}"
        raise ConfigError(f"{said}: expected a knowledge_plugin.registry.Method of that name, found {found}.")
    return method
