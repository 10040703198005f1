"""Batches of texts with mentions, and of what a decoder is to write of each: descriptions, or objects of triples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.answers import IGNORED
from knowledge_plugin.injection.attachment import Attachment
from knowledge_plugin.injection.hook import Hook
from knowledge_plugin.injection.tokenizer import base_tokenizer
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking.mention import Linker, Mention, check_mentions, link
from knowledge_plugin.objectives.collator import TEXT_COLUMNS, LinkingCollator, check_alike
from knowledge_plugin.objectives.decoder import MOST
from knowledge_plugin.objectives.mentions import word_pieces


class Place(NamedTuple):
    """A mention, and its first and its last token."""

    mention: Mention
    first: int
    last: int


class Wanted(NamedTuple):
    """What is to be written of a mention: the prompt's tokens, and those of the text."""

    row: int
    first: int
    last: int
    prompt: list[int]
    text: list[int]


class DescribingCollator(LinkingCollator):
    """Makes batches of texts with mentions, and of what the decoder is to write of each.

    A row has ``text``, perhaps ``mentions``, and perhaps ``triples``: ``[[entity id, relation, object], ...]``, all in
    words but the entity. What is wanted of a mention is the object of each triple of its row that begins with its
    entity, the relation being the prompt; without ``triples`` it is the description of the knowledge base, without a
    prompt. A relation ``None`` stands for a description too.

    Used with an attachment, entities stand before their mentions as ever. With :meth:`read_alone`, nothing does.
    """

    columns = (*TEXT_COLUMNS, "triples")

    knowledge_base: KnowledgeBase
    linker: Linker | None = None
    linked = True

    def use(self, attachment: Attachment) -> None:
        """Make batches for the model of an attachment."""
        super().use(attachment)
        self.knowledge_base, self.linker = attachment.source.knowledge_base, attachment.source.linker

    def read_alone(
        self, tokenizer: PreTrainedTokenizerBase, knowledge_base: KnowledgeBase, linker: Linker | None
    ) -> DescribingCollator:
        """Make batches in which nothing is put into a text, for a model without a plugin; return itself."""
        self.tokenizer, self.knowledge_base, self.linker = base_tokenizer(tokenizer), knowledge_base, linker
        self.linked = False
        return self

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch of tensors.

        Beside what the model reads, of each of ``n`` things that are wanted there are ``places`` ``[n, 3]`` (row,
        first and last token of the mention), ``written`` ``[n, length]`` (prompt and text), and ``labels``
        ``[n, length]``: the text's tokens and its end, -100 at prompts and padding.

        Raises:
            TrainingError: A row has no ``text``; a triple is no triple.
            LinkingError: Mentions are not given, and nothing finds them.
        """
        batch, found = self.encode(rows)
        wanted = [
            Wanted(i, first, last, *said)
            for i, row in enumerate(rows)
            for mention, first, last in found[i]
            for said in self._said(row, mention.entity_id)
        ]
        length = max([1, *(len(w.prompt) + len(w.text) for w in wanted)])
        written, labels = torch.zeros(len(wanted), length, dtype=torch.long), torch.full((len(wanted), length), IGNORED)
        for i, w in enumerate(wanted):
            end = len(w.prompt) + len(w.text)
            written[i, :end] = torch.tensor([*w.prompt, *w.text])
            labels[i, len(w.prompt) : end] = written[i, len(w.prompt) : end]
        batch["places"] = torch.tensor([w[:3] for w in wanted], dtype=torch.long).reshape(-1, 3)
        return batch | {"written": written, "labels": labels}

    def encode(self, rows: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], list[list[Place]]]:
        """Return what the model reads, and of each row its mentions with their first and last tokens.

        Raises:
            TrainingError: A row has no ``text``, or some have what others have not; or nothing says what it mentions.
        """
        assert self.tokenizer is not None
        check_alike(rows)
        if "text" not in rows[0]:
            raise TrainingError(
                f"a row of the dataset has the columns {sorted(rows[0])}; expected 'text', and perhaps 'mentions' and "
                "'triples'."
            )
        texts = [row["text"] for row in rows]
        mentions = self._find(texts, rows)
        given: dict[str, Any] = {"mentions": mentions} if self.linked else {}
        options: dict[str, Any] = {"padding": True, "truncation": True, "return_offsets_mapping": True}
        batch = dict(self.tokenizer(texts, return_tensors="pt", **options, **given))
        spans = batch.pop("offset_mapping").numpy()
        return batch, [list(_places(*row)) for row in zip(mentions, spans, strict=True)]

    def _find(self, texts: list[str], rows: Sequence[dict[str, Any]]) -> list[list[Mention]]:
        def knows(entity_id: str) -> bool:
            return entity_id in self.knowledge_base

        if "mentions" in rows[0]:
            found = [check_mentions(row["mentions"], text, knows) for row, text in zip(rows, texts, strict=True)]
        elif self.linker is None:
            raise TrainingError(
                "which entities a text mentions is not known: expected rows with 'mentions', such as "
                '[[0, 3, "person:1"]], or a linker. Type: linker=DictionaryLinker(kb)'
            )
        else:
            found = link(self.linker, texts, knows)
        return [[m for m in mentions if knows(m.entity_id)] for mentions in found]

    def _said(self, row: dict[str, Any], entity_id: str) -> Iterator[tuple[list[int], list[int]]]:
        """Yield prompts and texts, in tokens."""
        for relation, text in self._in_words(row, entity_id):
            prompt = self.prompt(relation)
            yield prompt, self._ended(self.tokens(text), MOST - len(prompt))

    def _in_words(self, row: dict[str, Any], entity_id: str) -> list[tuple[str | None, str]]:
        if row.get("triples") is None:
            description = self.knowledge_base[entity_id].description
            return [(None, description)] if description else []
        for triple in row["triples"]:
            if not _is_triple(triple):
                raise TrainingError(
                    f"triples: found {triple!r:.80}; expected [entity id, relation in words, object in words], such as "
                    '["person:1", "lives in", "Graz"].'
                )
        return [(relation, text) for head, relation, text in row["triples"] if head == entity_id and text.strip()]

    def prompt(self, relation: str | None) -> list[int]:
        """Return what the decoder is prompted with, in tokens: a relation in words, or nothing for a description."""
        return self.tokens(relation or "")[: MOST // 2]

    def tokens(self, text: str) -> list[int]:
        """Return a relation or an object in tokens of the vocabulary, without special ones."""
        assert self.tokenizer is not None
        return base_tokenizer(self.tokenizer)(text, add_special_tokens=False)["input_ids"] if text else []

    def _ended(self, tokens: list[int], most: int) -> list[int]:
        assert self.tokenizer is not None
        end = end_token(self.tokenizer)
        return [*tokens, *([] if end is None else [end])][:most]


def _places(mentions: list[Mention], spans: np.ndarray) -> Iterator[Place]:
    for mention in mentions:
        pieces = word_pieces(spans, mention)
        if len(pieces):  # else it was truncated away
            yield Place(mention, int(pieces[0]), int(pieces[-1]))


def _is_triple(triple: Any) -> bool:
    if not (isinstance(triple, (list, tuple)) and len(triple) == 3):
        return False
    head, relation, text = triple
    return isinstance(head, str) and isinstance(text, str) and (relation is None or isinstance(relation, str))


def end_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the token that ends what the decoder writes: the tokenizer's own that ends a text."""
    return tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id


def with_something_wanted(hook: Hook | None, batch: dict[str, Any]) -> list[bool]:
    """Return which rows of a batch have a mention of which something is to be written."""
    rows = set(batch["places"][:, 0].tolist())
    return [i in rows for i in range(len(batch["input_ids"]))]
