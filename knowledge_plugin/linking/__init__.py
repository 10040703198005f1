"""Where in a text an entity is mentioned."""

from knowledge_plugin.linking.dictionary import DictionaryLinker
from knowledge_plugin.linking.mention import Linker, Mention
from knowledge_plugin.linking.spacy_linker import SpacyLinker
from knowledge_plugin.linking.span_linker import SpanLinker

__all__ = ["DictionaryLinker", "Linker", "Mention", "SpacyLinker", "SpanLinker"]
