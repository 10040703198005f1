"""The plugin and its controls: how a text is read under each, and what stands behind the virtual tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

from knowledge_plugin.config import LayerInjectionConfig
from knowledge_plugin.evaluation.controls import random, shuffled, zero
from knowledge_plugin.injection.hook import Hook
from knowledge_plugin.injection.network import Network, drawn_by
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.plugin import KnowledgePlugin
from knowledge_plugin.registry import find_method

ControlName = Literal["none", "untrained", "shuffled", "random", "zero", "text"]

PLUGIN = "plugin"
CONTROLS = ("none", "untrained", "shuffled", "random", "zero", "text")
DEFAULT_CONTROLS = ("none", "shuffled", "random", "text")


@dataclass(frozen=True)
class Condition:
    """How rows are read, and what is behind the virtual tokens.

    Attributes:
        way: ``"plain"``, ``"linked"`` or ``"text"``.
        vectors: Vectors instead of the plugin's own, row for row.
        mapping: A mapping instead of the plugin's own.
    """

    way: str
    vectors: PlacedIndex | None = None
    mapping: Network | None = None


def find_conditions(
    controls: Iterable[str], plugin: KnowledgePlugin, hook: Hook, seed: int
) -> dict[str, Callable[[], Condition]]:
    """Return what makes each condition, the plugin among them, in the order of a report.

    Vectors are made when their turn comes, so that one control is in memory at a time.

    Args:
        controls: Which controls, in any order.
        plugin: The plugin.
        hook: Its hook on the model.
        seed: Of shuffled and random vectors, and of fresh weights.
    """
    kb, gpu, keys = plugin.knowledge_base, hook.vectors.gpu, key_dim_of(plugin)
    makers: dict[str, Callable[[], Condition]] = {
        "none": lambda: Condition("plain"),
        PLUGIN: lambda: Condition("linked"),
        "untrained": lambda: Condition("linked", mapping=_untrained(plugin, seed)),
        "shuffled": lambda: Condition("linked", PlacedIndex(shuffled(kb, seed, key_dim=keys), gpu)),
        "random": lambda: Condition("linked", PlacedIndex(random(kb, seed, key_dim=keys), gpu)),
        "zero": lambda: Condition("linked", PlacedIndex(zero(kb, key_dim=keys), gpu)),
        "text": lambda: Condition("text"),
    }
    wanted = {PLUGIN, *controls}
    return {name: make for name, make in makers.items() if name in wanted}


def key_dim_of(plugin: KnowledgePlugin) -> int:
    """Return how many numbers of a vector are the key by which an entry is found, 0 where entities are linked."""
    injection = plugin.config.injection
    return injection.key_dim if isinstance(injection, LayerInjectionConfig) else 0


def _untrained(plugin: KnowledgePlugin, seed: int) -> Network:
    with drawn_by(seed):
        network: Network = find_method(plugin.config.injection.method).network(plugin.config)
        return network.to(plugin.mapping.device).eval()


def under(hook: Hook | None, condition: Condition) -> AbstractContextManager[None]:
    """Put a condition in place of the plugin; afterwards, the plugin's own is back."""
    if hook is None or hook.source is None:
        return nullcontext()
    # What hangs on layers is asked whatever the tokens are.
    return behind(hook, condition) if condition.way == "linked" else hook.source.switched_off()


@contextmanager
def behind(hook: Hook, condition: Condition) -> Iterator[None]:
    """Put other vectors, or another mapping, behind the virtual tokens; afterwards, the plugin's own are back."""
    vectors, mapping = hook.vectors, hook.mapping
    try:
        hook.vectors, hook.mapping = condition.vectors or vectors, condition.mapping or mapping
        yield
    finally:
        hook.vectors, hook.mapping = vectors, mapping
