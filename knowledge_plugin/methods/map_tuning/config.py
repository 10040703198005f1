"""What the section ``injection`` says of map-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from knowledge_plugin.config import KnowledgePluginConfig, TokenInjectionConfig
from knowledge_plugin.errors import ConfigError


@dataclass(frozen=True)
class MapTuningConfig(TokenInjectionConfig):
    """A mapped vector is a word of the text."""

    method: Literal["map-tuning"] = "map-tuning"

    def check(self, plugin: KnowledgePluginConfig) -> None:
        """Hold the section against the others: the mapping leads to a row of the word embeddings."""
        if plugin.mapping.output_dim != plugin.base_model.embedding_dim:
            raise ConfigError(
                f"the mapping leads to width {plugin.mapping.output_dim}, but the base model's word embeddings are "
                f"{plugin.base_model.embedding_dim} wide."
            )
