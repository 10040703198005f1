"""A linker that retrieves: the entry whose vector is nearest to that of the text, and so about the text as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from knowledge_plugin.errors import LinkingError
from knowledge_plugin.knowledge_base import KnowledgeBase, check_knowledge_base
from knowledge_plugin.linking.mention import Mention, refuse_one_text

_BLOCK = 65_536


class RetrievalLinker:
    """Links each text as a whole to the entry with the largest inner product.

    For a knowledge base of passages, whose vectors come from the retriever that reads the texts; its entry then stands
    before the text.

    Args:
        knowledge_base: The passages.
        encode: From texts to vectors ``[n, dim]``, such as ``SentenceTransformer(...).encode``.
        min_score: Inner product below which nothing is linked.

    Raises:
        KnowledgeBaseError: No knowledge base.

    Example:
        >>> from knowledge_plugin import Entity
        >>> entities = [Entity("x:1", "a", description="A town."), Entity("x:2", "o", description="A river.")]
        >>> kb = KnowledgeBase.from_entities(entities, [[1.0, 0.0], [0.0, 1.0]], name="passages")
        >>> linker = RetrievalLinker(kb, lambda texts: [[text.count("a"), text.count("o")] for text in texts])
        >>> linker(["to Oslo"])
        [[Mention(start=0, end=7, entity_id='x:2', score=2.0)]]
    """

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        encode: Callable[[list[str]], object],
        min_score: float = float("-inf"),
    ) -> None:
        check_knowledge_base(knowledge_base)
        self.knowledge_base, self.encode, self.min_score = knowledge_base, encode, min_score

    def __call__(self, texts: Sequence[str]) -> list[list[Mention]]:
        """Return at most one mention of each text.

        Raises:
            LinkingError: The encoder gives vectors of another width than those of the knowledge base; or one text
                instead of several.
        """
        refuse_one_text(texts)
        kb = self.knowledge_base
        if not texts:
            return []
        queries = torch.as_tensor(self.encode(list(texts)), dtype=torch.float32)
        if queries.shape != (len(texts), kb.config.dim):
            raise LinkingError(
                f"encode: expected vectors [{len(texts)}, {kb.config.dim}], as wide as those of {kb.config.name!r}, "
                f"found {list(queries.shape)}. Give the encoder that the knowledge base was made with."
            )
        best = torch.full((len(texts),), -torch.inf)
        rows = torch.zeros(len(texts), dtype=torch.int64)
        for block in torch.arange(len(kb)).split(_BLOCK):
            scores, found = (queries @ kb.vectors(block).T).max(dim=1)
            rows, best = torch.where(scores > best, block[found], rows), torch.maximum(scores, best)
        linked: list[list[Mention]] = [[] for _ in texts]
        for mentions, text, row, score in zip(linked, texts, rows.tolist(), best.tolist(), strict=True):
            if text.strip() and score >= self.min_score:
                mentions.append(Mention(0, len(text), kb.entity_id(row), score))
        return linked
