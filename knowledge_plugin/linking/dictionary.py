"""The dictionary linker: the names of the knowledge base, found in text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from knowledge_plugin.config import Case
from knowledge_plugin.errors import LinkingError
from knowledge_plugin.knowledge_base import KnowledgeBase, check_knowledge_base
from knowledge_plugin.knowledge_base.lookup import AliasLookup
from knowledge_plugin.knowledge_base.normalization import check_case, normalize, normalize_with_offsets
from knowledge_plugin.linking.boundaries import word_spans
from knowledge_plugin.linking.disambiguation import (
    Candidate,
    Choice,
    Disambiguator,
    NeighbourDisambiguator,
)
from knowledge_plugin.linking.disambiguation import (
    disambiguate as take_best,
)
from knowledge_plugin.linking.mention import Mention, refuse_one_text, without_overlaps
from knowledge_plugin.linking.stop_words import ENGLISH_STOP_WORDS

# Of a name of thousands, such as a common surname, the rest is hardly ever meant, and each costs a vector.
MAX_CANDIDATES = 32


class DictionaryLinker:
    """Finds the aliases of a knowledge base in texts.

    Text and aliases are compared in Unicode NFC and one width ("ＮＨＫ" is "NHK"). A match begins and ends at word
    boundaries; in scripts without blanks (Chinese, Japanese, Thai, Lao, Khmer, Burmese) between any two letters. Of
    overlapping matches the longest wins, then the first. Among the entities of one alias the prior decides, and is the
    mention's score; of equal priors, the more popular entity.

    Args:
        knowledge_base: Whose aliases.
        case: ``"insensitive"`` (the default) ignores case, ``"sensitive"`` does not.
        min_length: Shorter aliases, in characters, are not linked.
        stop_words: Aliases that are never linked, in either case; ``None`` takes a list of English function words,
            an empty list none. :func:`~knowledge_plugin.linking.ordinary_words` finds more of them in your texts.
        disambiguate: ``"prior"`` (the default) always takes the likeliest entity of a name; ``"context"`` the one whose
            vector fits the other mentions of the text (:class:`~knowledge_plugin.linking.NeighbourDisambiguator`). Or
            any :class:`~knowledge_plugin.linking.Disambiguator`.

    Raises:
        LinkingError: The knowledge base has no aliases, or ``case``, ``stop_words`` or ``disambiguate`` is none of
            these.
        KnowledgeBaseError: No knowledge base.

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
        disambiguate: Literal["prior", "context"] | Disambiguator = "prior",
    ) -> None:
        check_knowledge_base(knowledge_base)
        check_case(case, LinkingError)
        if knowledge_base.config.aliases == 0:
            raise LinkingError(
                f"the knowledge base {knowledge_base.config.name!r} has no aliases. Pass a linker of your own to "
                "attach, or mentions to the tokenizer."
            )
        self.knowledge_base = knowledge_base
        self.case = case
        self.min_length = min_length
        if isinstance(stop_words, (str, bytes)):
            raise LinkingError(
                f"stop_words: expected a list of texts, found the text {stop_words!r:.80}. Type: stop_words=[...]"
            )
        words = ENGLISH_STOP_WORDS if stop_words is None else stop_words
        self.stop_words = frozenset(normalize(word, "insensitive") for word in words)
        if not callable(disambiguate) and disambiguate not in ("prior", "context"):
            raise LinkingError(
                f"disambiguate: expected 'prior', 'context' or a function that scores candidates, found "
                f"{disambiguate!r:.80}. Type: disambiguate='context'"
            )
        self.disambiguate = disambiguate

    def __call__(self, texts: list[str]) -> list[list[Mention]]:
        """Return the mentions of each text, in order, without overlaps.

        Raises:
            ArtifactError: ``disambiguate="context"``, and the knowledge base was opened without its vectors.
            LinkingError: The disambiguator did not give a number for each candidate; or one text instead of several.
        """
        refuse_one_text(texts)
        # One lookup for all: an upsert may put another in its place. Rows keep their ids.
        lookup = self.knowledge_base.alias_lookup(self.case)
        if self.disambiguate == "prior":
            return [[self._likeliest(lookup, name) for name in self._find(lookup, text)] for text in texts]
        choices = [[self._choice(lookup, name) for name in self._find(lookup, text)] for text in texts]
        if self.disambiguate == "context":
            return take_best(NeighbourDisambiguator(self.knowledge_base), texts, choices)
        return take_best(self.disambiguate, texts, choices)

    def accepts(self, key: str) -> bool:
        """Say whether a name, normalised as the linker's case policy says, is ever linked."""
        return len(key) >= self.min_length and key.lower() not in self.stop_words

    def _find(self, lookup: AliasLookup, text: str) -> list[Mention]:
        """Return the names in a text: mentions in which the normalised name stands in for the entity."""
        prefixes, longest = lookup.trie.prefixes, int(lookup.max_length[0])
        normalized, spans = normalize_with_offsets(text, self.case)
        tokens = word_spans(normalized)
        ends = {end for _, end in tokens}
        found: list[Mention] = []
        for start, _ in tokens:
            for alias in prefixes(normalized[start : start + longest]):
                end = start + len(alias)
                if end in ends and self.accepts(alias):
                    # Entities are looked up when overlaps are settled: most candidates are dropped.
                    found.append(Mention(start, end, alias))
        kept = without_overlaps(found)
        if spans is None:
            return kept
        return [Mention(spans[m.start][0], spans[m.end - 1][1], m.entity_id) for m in kept]

    def _likeliest(self, lookup: AliasLookup, name: Mention) -> Mention:
        best = lookup.best(name.entity_id)
        assert best is not None  # the trie has just given this name
        return Mention(name.start, name.end, self.knowledge_base.entity_id(best[0]), best[1])

    def _choice(self, lookup: AliasLookup, name: Mention) -> Choice:
        found = lookup.candidates(name.entity_id)[:MAX_CANDIDATES]
        candidates = (Candidate(self.knowledge_base.entity_id(row), prior) for row, prior in found)
        return Choice(name.start, name.end, tuple(candidates))
