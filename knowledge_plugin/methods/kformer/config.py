"""What the section ``injection`` says of Kformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from knowledge_plugin.config import MAX_WIDTH, LayerInjectionConfig, MappingConfig, check_bound


@dataclass(frozen=True)
class KformerConfig(LayerInjectionConfig):
    """Entries are further keys and values of feed-forwards.

    Attributes:
        top: How many entries are found for a text (or a token of a decoder); Kformer takes 5.
        lookup_dim: Width of queries and keys.
    """

    method: Literal["kformer"] = "kformer"
    top: int = 5
    lookup_dim: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bound("top", self.top, 1_000)
        check_bound("lookup_dim", self.lookup_dim, MAX_WIDTH)

    def weights(self, mapping: MappingConfig) -> int:
        """Return how many weights, biases among them, the network has."""
        width, value = mapping.output_dim, mapping.input_dim - self.value_start(mapping.input_dim)
        return self.lookup_weights(width, self.lookup_dim) + len(self.layers) * width * (self.key_dim + value + 2)
