"""What the section ``injection`` says of knowledge in attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from knowledge_plugin.config import MAX_WIDTH, LayerInjectionConfig, MappingConfig, check_bound
from knowledge_plugin.errors import ConfigError


@dataclass(frozen=True)
class KBAttentionConfig(LayerInjectionConfig):
    """Entries are further keys and values of the attention.

    Attributes:
        heads: Of the model's attention.
        head_dim: Their width.
        top: How many entries a token looks at; 100 in KBLaM.
        scale: ``C`` of the correction ``log C - log M`` of the scores of ``M`` entries; 100 in KBLaM.
    """

    method: Literal["kb-attention"] = "kb-attention"
    heads: int = 1
    head_dim: int = 1
    top: int = 100
    scale: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bound("heads", self.heads, 10_000)
        check_bound("head_dim", self.head_dim, MAX_WIDTH)
        check_bound("top", self.top, 100_000)
        if not 0 < self.scale <= 1e9:
            raise ConfigError(f"scale: expected a number above 0, at most 1e9, found {self.scale}.")

    def weights(self, mapping: MappingConfig) -> int:
        """Return how many weights, biases among them, the network has."""
        value = mapping.input_dim - self.value_start(mapping.input_dim)
        return len(self.layers) * self.heads * self.head_dim * (self.key_dim + value + 2 + mapping.output_dim)
