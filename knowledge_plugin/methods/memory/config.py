"""What the section ``injection`` says of the memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from knowledge_plugin.config import MAX_WIDTH, LayerInjectionConfig, MappingConfig, check_bound
from knowledge_plugin.errors import ConfigError


@dataclass(frozen=True)
class MemoryConfig(LayerInjectionConfig):
    """Entries are read by attention, beside feed-forwards.

    Attributes:
        top: How many entries are found for a text (or a token of a decoder); PlugLM takes 5.
        lookup_dim: Width of queries and keys; 128 in PlugLM.
        heads: Of the attention over what was found.
    """

    method: Literal["memory"] = "memory"
    top: int = 5
    lookup_dim: int = 128
    heads: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bound("top", self.top, 1_000)
        check_bound("lookup_dim", self.lookup_dim, MAX_WIDTH)
        check_bound("heads", self.heads, 1_000)

    def check(self, plugin: object) -> None:
        """Hold the section against the others: the heads divide the width."""
        super().check(plugin)  # type: ignore[arg-type]
        if (width := plugin.mapping.output_dim) % self.heads:  # type: ignore[attr-defined]
            raise ConfigError(f"heads: expected a divisor of the width {width}, found {self.heads}.")

    def weights(self, mapping: MappingConfig) -> int:
        """Return how many weights, biases among them, the network has."""
        width, value = mapping.output_dim, mapping.input_dim - self.value_start(mapping.input_dim)
        reader = 2 * width * (width + 1) + 2 * width * (value + 1) + self.heads
        return len(self.layers) * (self.lookup_weights(width, self.lookup_dim) + reader)
