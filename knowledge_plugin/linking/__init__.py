"""Where in a text an entity is mentioned."""

from knowledge_plugin.linking.dictionary import DictionaryLinker
from knowledge_plugin.linking.disambiguation import (
    Candidate,
    Choice,
    DescriptionDisambiguator,
    Disambiguator,
    NeighbourDisambiguator,
)
from knowledge_plugin.linking.long_tail import Judged, LongTailLinker, count_entities, count_neighbours
from knowledge_plugin.linking.mention import Linker, Mention
from knowledge_plugin.linking.ordinary_words import ordinary_words
from knowledge_plugin.linking.quality import GoldText, LinkingQuality, read_gold, score_linker
from knowledge_plugin.linking.retrieval import RetrievalLinker
from knowledge_plugin.linking.routing import LinkRouter
from knowledge_plugin.linking.spacy_linker import SpacyLinker
from knowledge_plugin.linking.span_linker import SpanLinker
from knowledge_plugin.linking.statistics import AliasStatistics, alias_statistics
from knowledge_plugin.linking.stop_words import ENGLISH_STOP_WORDS

__all__ = [
    "ENGLISH_STOP_WORDS",
    "AliasStatistics",
    "Candidate",
    "Choice",
    "DescriptionDisambiguator",
    "DictionaryLinker",
    "Disambiguator",
    "GoldText",
    "Judged",
    "Linker",
    "LinkRouter",
    "LinkingQuality",
    "LongTailLinker",
    "Mention",
    "NeighbourDisambiguator",
    "RetrievalLinker",
    "SpacyLinker",
    "SpanLinker",
    "alias_statistics",
    "count_entities",
    "count_neighbours",
    "ordinary_words",
    "read_gold",
    "score_linker",
]
