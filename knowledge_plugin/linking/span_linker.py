"""A model that finds spans by label, such as GLiNER, as a linker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from knowledge_plugin.config import Case
from knowledge_plugin.errors import LinkingError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking.mention import Mention


class SpanLinker:
    """Takes the spans that a model finds, each for the entity that its text most likely means.

    The model decides where a name is meant as a name, the knowledge base whose name it is. A mention's score is the
    span's score times the prior of the name. What is no one's name is not linked.

    Args:
        model: A GLiNER model, ``GLiNER.from_pretrained(...)`` (``pip install 'knowledge-plugin[gliner]'``), or anything
            with ``inference(texts, labels, threshold=...)`` or ``predict_entities(text, labels, threshold=...)`` that
            gives dictionaries with ``start``, ``end`` and ``score``.
        labels: What to look for, such as ``["city", "country"]``.
        knowledge_base: Whose entities.
        threshold: Spans of a lower score, from 0 to 1, are not taken.
        case: Whether upper and lower case differ between names.

    Raises:
        LinkingError: The model has neither method.

    Example:
        >>> from gliner import GLiNER  # doctest: +SKIP
        >>> finder = GLiNER.from_pretrained("urchade/gliner_small-v2.1")  # doctest: +SKIP
        >>> linker = SpanLinker(finder, ["city"], plugin.knowledge_base)  # doctest: +SKIP
        >>> plugin.attach(model, tokenizer, linker=linker)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        labels: Sequence[str],
        knowledge_base: KnowledgeBase,
        *,
        threshold: float = 0.5,
        case: Case = "insensitive",
    ) -> None:
        if not (hasattr(model, "inference") or hasattr(model, "predict_entities")):
            raise LinkingError(
                f"expected a model with inference(texts, labels, threshold=...) like GLiNER's, found "
                f"{type(model).__name__}. A linker may also be any function from texts to mentions."
            )
        self.model = model
        self.labels = list(labels)
        self.knowledge_base = knowledge_base
        self.threshold = threshold
        self.case: Case = case

    def __call__(self, texts: list[str]) -> list[list[Mention]]:
        """Return the mentions of each text."""
        # Blank texts make some of these models fail.
        filled = [text for text in texts if text.strip()]
        spans = iter(self._spans(filled) if filled else [])
        return [self._mentions(text, next(spans)) if text.strip() else [] for text in texts]

    def _spans(self, texts: list[str]) -> list[list[dict]]:
        if hasattr(self.model, "inference"):
            return self.model.inference(texts, self.labels, threshold=self.threshold)
        return [self.model.predict_entities(text, self.labels, threshold=self.threshold) for text in texts]

    def _mentions(self, text: str, spans: list[dict]) -> list[Mention]:
        mentions = []
        for span in spans:
            start, end = int(span["start"]), int(span["end"])
            best = self.knowledge_base.best_entity(text[start:end], self.case)
            if best is not None:
                mentions.append(Mention(start, end, best[0], float(span["score"]) * best[1]))
        return mentions
