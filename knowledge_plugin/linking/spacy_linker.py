"""A spaCy pipeline as a linker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from knowledge_plugin.config import Case
from knowledge_plugin.errors import LinkingError
from knowledge_plugin.knowledge_base import KnowledgeBase, check_knowledge_base
from knowledge_plugin.knowledge_base.normalization import check_case
from knowledge_plugin.linking.labels import check_labels
from knowledge_plugin.linking.mention import Mention, refuse_one_text


class SpacyLinker:
    """Takes the entities that a spaCy pipeline finds (``doc.ents``).

    Where the pipeline says which entity it is (its entity linker writes ``ent.kb_id_``, its entity ruler
    ``ent.ent_id_``), and the knowledge base has it, that one is meant, with score 1. Else the name decides: it is the
    entity that the name most likely means, and the prior is the score. What is no one's name is not linked.

    Args:
        nlp: A pipeline: ``spacy.load("en_core_web_sm")``, or one of your own (``pip install
            'knowledge-plugin[spacy]'``).
        knowledge_base: Whose entities.
        labels: Only entities with one of these labels, such as ``["GPE", "LOC"]``; ``None`` for all.
        id_prefix: What stands before the pipeline's ids in the knowledge base, such as ``"wikidata:"``.
        case: ``"insensitive"`` (the default) ignores case of names, ``"sensitive"`` does not.
        batch_size: How many texts the pipeline takes at a time; ``None`` leaves that to the pipeline.

    Raises:
        LinkingError: ``nlp`` is no pipeline, ``labels`` no list of texts, or there is no such ``case``.
        KnowledgeBaseError: No knowledge base.

    Example:
        >>> import spacy  # doctest: +SKIP
        >>> linker = SpacyLinker(spacy.load("en_core_web_sm"), plugin.knowledge_base)  # doctest: +SKIP
        >>> plugin.attach(model, tokenizer, linker=linker)  # doctest: +SKIP
    """

    def __init__(
        self,
        nlp: Any,
        knowledge_base: KnowledgeBase,
        *,
        labels: Iterable[str] | None = None,
        id_prefix: str = "",
        case: Case = "insensitive",
        batch_size: int | None = None,
    ) -> None:
        if not hasattr(nlp, "pipe"):
            name = nlp if isinstance(nlp, str) else "en_core_web_sm"
            raise LinkingError(
                f"expected a spaCy pipeline, found {type(nlp).__name__} ({nlp!r:.80}). "
                f"Type: SpacyLinker(spacy.load({name!r:.80}), knowledge_base)"
            )
        check_knowledge_base(knowledge_base)
        check_case(case, LinkingError)
        self.nlp = nlp
        self.knowledge_base = knowledge_base
        self.labels = None if labels is None else check_labels(labels)
        self.id_prefix = id_prefix
        self.case: Case = case
        self.batch_size = batch_size

    def __call__(self, texts: list[str]) -> list[list[Mention]]:
        """Return the mentions of each text, in order.

        Raises:
            LinkingError: One text instead of several.
        """
        refuse_one_text(texts)
        docs = self.nlp.pipe(texts, batch_size=self.batch_size)
        return [[m for ent in doc.ents if (m := self._mention(ent)) is not None] for doc in docs]

    def _mention(self, ent: Any) -> Mention | None:
        if self.labels is not None and ent.label_ not in self.labels:
            return None
        # An entity linker that does not know writes NIL, which no knowledge base has: the next in line decides.
        for assigned in (ent.kb_id_, ent.ent_id_):
            if assigned and (entity_id := self.id_prefix + assigned) in self.knowledge_base:
                return Mention(ent.start_char, ent.end_char, entity_id)
        best = self.knowledge_base.best_entity(ent.text, self.case)
        return None if best is None else Mention(ent.start_char, ent.end_char, *best)
