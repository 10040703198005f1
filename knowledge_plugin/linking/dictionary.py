"""The dictionary linker: the names of the knowledge base, found in text."""

from __future__ import annotations

from collections.abc import Iterable

import regex

from knowledge_plugin.config import Case
from knowledge_plugin.errors import LinkingError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.knowledge_base.lookup import AliasLookup
from knowledge_plugin.knowledge_base.normalization import normalize, normalize_with_offsets
from knowledge_plugin.linking.mention import Mention, without_overlaps
from knowledge_plugin.linking.stop_words import ENGLISH_STOP_WORDS

# A word with its combining marks (vowel signs of Indic scripts are marks), or one sign that is no blank.
_TOKEN = regex.compile(r"[\w\p{M}]+|[^\w\p{M}\s]")


class DictionaryLinker:
    """Finds the aliases of a knowledge base in texts.

    Text and aliases are compared in Unicode NFC. A match begins and ends at word boundaries; of overlapping matches
    the longest wins, then the first. Among the entities of one alias the prior decides, and is the mention's score;
    of equal priors, the more popular entity.

    Args:
        knowledge_base: Whose aliases.
        case: ``"insensitive"`` (the default) ignores case, ``"sensitive"`` does not.
        min_length: Shorter aliases, in characters, are not linked.
        stop_words: Aliases that are never linked, in either case; ``None`` takes a list of English function words,
            an empty list none.

    Raises:
        LinkingError: The knowledge base has no aliases.

    Example:
        >>> from knowledge_plugin import Entity, KnowledgeBase
        >>> kb = KnowledgeBase.from_entities(
        ...     [Entity("x:york", "York"), Entity("x:nyc", "New York")], [[0.0], [1.0]], name="towns")
        >>> DictionaryLinker(kb)(["From new york to Yorkshire."])
        [[Mention(start=5, end=13, entity_id='x:nyc', score=1.0)]]
    """

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        *,
        case: Case = "insensitive",
        min_length: int = 2,
        stop_words: Iterable[str] | None = None,
    ) -> None:
        if knowledge_base.config.aliases == 0:
            raise LinkingError(
                f"the knowledge base {knowledge_base.config.name!r} has no aliases. Pass a linker of your own to "
                "attach, or mentions to the tokenizer."
            )
        self.knowledge_base = knowledge_base
        self.case = case
        self.min_length = min_length
        words = ENGLISH_STOP_WORDS if stop_words is None else stop_words
        self.stop_words = frozenset(normalize(word, "insensitive") for word in words)

    def __call__(self, texts: list[str]) -> list[list[Mention]]:
        """Return the mentions of each text, in order, without overlaps."""
        return [self._link(text) for text in texts]

    def accepts(self, key: str) -> bool:
        """Say whether a name, normalised as the linker's case policy says, is ever linked."""
        return len(key) >= self.min_length and key.lower() not in self.stop_words

    def _link(self, text: str) -> list[Mention]:
        lookup = self.knowledge_base.alias_lookup(self.case)
        prefixes, longest = lookup.trie.prefixes, int(lookup.max_length[0])
        normalized, spans = normalize_with_offsets(text, self.case)
        tokens = [match.span() for match in _TOKEN.finditer(normalized)]
        ends = {end for _, end in tokens}
        found: list[Mention] = []
        for start, _ in tokens:
            for alias in prefixes(normalized[start : start + longest]):
                end = start + len(alias)
                if end in ends and self.accepts(alias):
                    # The alias stands in for the entity until overlaps are settled: most candidates are dropped.
                    found.append(Mention(start, end, alias))
        return [self._resolve(lookup, mention, spans) for mention in without_overlaps(found)]

    def _resolve(self, lookup: AliasLookup, found: Mention, spans: list[tuple[int, int]] | None) -> Mention:
        # Of the lookup that found it: an upsert may have put another in its place. Rows keep their ids.
        best = lookup.best(found.entity_id)
        assert best is not None  # the trie has just given this alias
        row, prior = best
        start, end = (found.start, found.end) if spans is None else (spans[found.start][0], spans[found.end - 1][1])
        return Mention(start, end, self.knowledge_base.entity_id(row), prior)
