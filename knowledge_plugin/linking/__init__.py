"""Where in a text an entity is mentioned."""

from knowledge_plugin.linking.dictionary import DictionaryLinker
from knowledge_plugin.linking.mention import Linker, Mention

__all__ = ["DictionaryLinker", "Linker", "Mention"]
