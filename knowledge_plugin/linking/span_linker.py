"""A model that finds spans by label, such as GLiNER, as a linker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from knowledge_plugin.config import Case
from knowledge_plugin.errors import LinkingError
from knowledge_plugin.knowledge_base import KnowledgeBase, check_knowledge_base
from knowledge_plugin.knowledge_base.normalization import check_case
from knowledge_plugin.linking.labels import check_labels
from knowledge_plugin.linking.mention import Mention, refuse_one_text


class SpanLinker:
    """Takes the spans that a model finds, each for the entity that its text most likely means.

    The model decides where a name is meant as a name, the knowledge base whose name it is. A mention's score is the
    span's score times the prior of the name. What is no one's name is not linked.

    Args:
        model: A GLiNER model, ``GLiNER.from_pretrained(...)`` (``pip install 'knowledge-plugin[gliner]'``), or anything
            with ``inference(texts, labels, threshold=...)``, ``batch_predict_entities`` of the same arguments, or
            ``predict_entities(text, labels, threshold=...)`` that gives dictionaries with ``start``, ``end``,
            ``label`` and ``score``.
        labels: What to look for, such as ``["city", "country"]``. Or for each label the type that an entity must have
            (one of ``Entity.types``), such as ``{"city": "city", "person": "human"}``: then a span of the label
            "person" is never taken for a city of that name.
        knowledge_base: Whose entities.
        threshold: Spans of a lower score, from 0 to 1, are not taken.
        case: ``"insensitive"`` (the default) ignores case of names, ``"sensitive"`` does not.

    Raises:
        LinkingError: The model has none of these methods, ``labels`` are no labels, or there is no such ``case``.
        KnowledgeBaseError: No knowledge base.

    Example:
        >>> from gliner import GLiNER  # doctest: +SKIP
        >>> finder = GLiNER.from_pretrained("urchade/gliner_small-v2.1")  # doctest: +SKIP
        >>> linker = SpanLinker(finder, ["city"], plugin.knowledge_base)  # doctest: +SKIP
        >>> plugin.attach(model, tokenizer, linker=linker)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        labels: Iterable[str] | Mapping[str, str],
        knowledge_base: KnowledgeBase,
        *,
        threshold: float = 0.5,
        case: Case = "insensitive",
    ) -> None:
        # The first that is there: GLiNER calls the second deprecated, and the third takes one text at a time.
        methods = ("inference", "batch_predict_entities", "predict_entities")
        self._method = next((name for name in methods if hasattr(model, name)), None)
        if self._method is None:
            raise LinkingError(
                f"expected a model with inference(texts, labels, threshold=...) like GLiNER's, found "
                f"{type(model).__name__}. A linker may also be any function from texts to mentions."
            )
        check_knowledge_base(knowledge_base)
        check_case(case, LinkingError)
        self.model = model
        self.labels = list(check_labels(labels))
        self.types = dict(labels) if isinstance(labels, Mapping) else None
        self.knowledge_base = knowledge_base
        self.threshold = threshold
        self.case: Case = case

    def __call__(self, texts: list[str]) -> list[list[Mention]]:
        """Return the mentions of each text.

        Raises:
            LinkingError: The model did not give the spans of each text; or one text instead of several.
        """
        refuse_one_text(texts)
        # GLiNER 0.2.24 raises IndexError at a text without a word.
        filled = [i for i, text in enumerate(texts) if text.strip()]
        found: list[list[Mention]] = [[] for _ in texts]
        for i, spans in zip(filled, self._spans([texts[i] for i in filled]), strict=True):
            found[i] = [m for span in spans if (m := self._mention(texts[i], span)) is not None]
        return found

    def _spans(self, texts: list[str]) -> list[list[dict]]:
        if not texts:
            return []
        find = getattr(self.model, str(self._method))
        if self._method == "predict_entities":
            found = [find(text, self.labels, threshold=self.threshold) for text in texts]
        else:
            found = find(texts, self.labels, threshold=self.threshold)
        if not (isinstance(found, list) and len(found) == len(texts) and all(isinstance(s, list) for s in found)):
            raise LinkingError(
                f"{type(self.model).__name__}: expected a list of spans for each of {len(texts)} texts, found "
                f"{found!r:.200}. Type: a function of your own from texts to mentions, as linker=..."
            )
        return found

    def _mention(self, text: str, span: Any) -> Mention | None:
        try:
            start, end, score = int(span["start"]), int(span["end"]), float(span["score"])
            label = span["label"] if self.types else None
        except (KeyError, TypeError, ValueError) as error:
            raise LinkingError(
                f"{type(self.model).__name__}: expected a dictionary with start, end, label and score, found "
                f"{span!r:.200}. Type: a function of your own from texts to mentions, as linker=..."
            ) from error
        if self.types and label not in self.types:
            raise LinkingError(
                f"{type(self.model).__name__}: {label!r:.80} is not among the labels "
                f"{', '.join(map(repr, self.labels))}. Type: labels={self.labels!r:.200} to take spans of any label."
            )
        of_type = self.types[label] if self.types else None
        best = self.knowledge_base.best_entity(text[start:end], self.case, of_type=of_type)
        return None if best is None else Mention(start, end, best[0], score * best[1])
