"""What the section ``injection`` says of passages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from knowledge_plugin.config import KnowledgePluginConfig, TokenInjectionConfig, check_bound
from knowledge_plugin.errors import ConfigError

_MAX_TOKENS = 64


@dataclass(frozen=True)
class PassageConfig(TokenInjectionConfig):
    """The embedding of a passage is one token of the text, or several.

    Attributes:
        tokens: How many.
    """

    method: Literal["passage"] = "passage"
    separator: str = ""
    tokens: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bound("tokens", self.tokens, _MAX_TOKENS)

    def check(self, plugin: KnowledgePluginConfig) -> None:
        """Hold the section against the others: the mapping leads to rows of the word embeddings."""
        if plugin.mapping.output_dim != plugin.base_model.embedding_dim * self.tokens:
            raise ConfigError(
                f"the mapping leads to width {plugin.mapping.output_dim}, but {self.tokens} tokens of the base model's "
                f"word embeddings are {plugin.base_model.embedding_dim * self.tokens} wide."
            )

    def in_words(self) -> dict[str, str]:
        """Return the settings for people, by name."""
        return super().in_words() | {"tokens": str(self.tokens)}
