"""Names that are ordinary words, found by how texts write them: no word list, in any language that has capitals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.knowledge_base.lookup import alias_key
from knowledge_plugin.knowledge_base.normalization import normalize, normalize_column, strip_column
from knowledge_plugin.linking.boundaries import word_spans
from knowledge_plugin.linking.mention import refuse_one_text

_ENDS_A_SENTENCE = frozenset(".!?:…\"'“”‘’«»„(")


def ordinary_words(knowledge_base: KnowledgeBase, texts: Iterable[str], *, min_count: int = 5) -> list[str]:
    """Return the names of one word that the texts use as a word and not as a name.

    The rule: the knowledge base writes the name with a capital and never without, and of its occurrences in the texts,
    more are in lower case than not. Where a sentence begins nothing is counted, because there every word has a capital.
    "Nice" and "Reading" are dropped so from ordinary English, and "Paris" stays. Scripts without capitals, and German
    nouns, tell nothing.

    Args:
        knowledge_base: Whose names.
        texts: Any texts of the kind that will be linked, as they are written; the more, the better.
        min_count: A word is judged that occurs so often in lower case.

    Returns:
        The words, in lower case and in order, for ``stop_words`` of the linker or of a plugin's config.

    Raises:
        LinkingError: One text instead of several.

    Example:
        >>> from knowledge_plugin import Entity
        >>> from knowledge_plugin.linking import ENGLISH_STOP_WORDS, DictionaryLinker
        >>> towns = [Entity("x:1", "Reading"), Entity("x:2", "York")]
        >>> kb = KnowledgeBase.from_entities(towns, [[0.0], [1.0]], name="towns")
        >>> words = ordinary_words(kb, ["She was reading in York, and I was reading too."], min_count=2)
        >>> words
        ['reading']
        >>> linker = DictionaryLinker(kb, stop_words=[*ENGLISH_STOP_WORDS, *words])
    """
    refuse_one_text(texts)
    lower: Counter[str] = Counter()
    other: Counter[str] = Counter()
    for text in texts:
        _count(normalize(text, "sensitive"), lower, other)
    frequent = {word for word, count in lower.items() if count >= min_count and count > other[word]}
    lookup = knowledge_base.alias_lookup("insensitive")
    names = sorted(w for w in frequent if (key := alias_key(w, "insensitive")) is not None and lookup.candidates(key))
    written = strip_column(normalize_column(knowledge_base.alias_table()["alias"], "sensitive"))
    in_lower_case = set(pc.unique(written.filter(pc.is_in(written, pa.array(names, pa.string())))).to_pylist())
    return [name for name in names if name not in in_lower_case]


def _count(text: str, lower: Counter[str], other: Counter[str]) -> None:
    before = "."
    for start, end in word_spans(text):
        word = text[start:end]
        key = word.lower()
        if word == key:
            lower[key] += 1
        elif before not in _ENDS_A_SENTENCE:
            other[key] += 1
        before = word
