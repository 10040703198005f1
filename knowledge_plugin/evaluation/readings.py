"""One text, read in three ways: as it is, with virtual tokens, and with descriptions pasted in."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from knowledge_plugin.errors import EvaluationError
from knowledge_plugin.evaluation.rows import Rows
from knowledge_plugin.injection.answers import cut_from
from knowledge_plugin.injection.attachment import Attachment
from knowledge_plugin.injection.source import KnowledgeSource
from knowledge_plugin.knowledge_base import KnowledgeBase

# What stands before a text in the control "text": one of these for each entity that has a description, and a blank.
# The label would give away the words of a mention that a language model is asked for.
TEXT_TEMPLATE = "{label}: {description}"
TEXT_TEMPLATE_OF_WORDS = "{description}"

_FEATURES = ("input_ids", "attention_mask", "token_type_ids")
_AT_A_TIME = 1000


@dataclass(frozen=True)
class Reading:
    """Every row as tokens.

    Attributes:
        features: ``input_ids`` and so on of each row, without padding.
        spans: Where each token stands in the row's text: ``(start, end)``, equal where it is no token of the text.
    """

    features: list[dict[str, list[int]]]
    spans: list[list[tuple[int, int]]]

    def __len__(self) -> int:
        return len(self.features)

    @property
    def tokens(self) -> int:
        """How many tokens the model is to read, without padding."""
        return sum(len(row["input_ids"]) for row in self.features)


def read_plain(rows: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> Reading:
    """Read texts as a checkpoint without any plugin does."""
    return Reading(*_read(rows, rows.texts, tokenizer, max_length))


def read_linked(rows: Rows, attachment: Attachment, max_length: int | None = None) -> Reading:
    """Read texts with a virtual token at each mention."""
    return Reading(*_read(rows, rows.texts, attachment.tokenizer, max_length, rows.mentions, rows.pair_mentions))


def read_described(
    rows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    kb: KnowledgeBase,
    template: str = TEXT_TEMPLATE,
    max_length: int | None = None,
) -> tuple[Reading, int]:
    """Read texts with the descriptions of their entities in front, cut so that the text itself stays whole.

    Returns:
        The reading, and how many rows lost a part of their descriptions.

    Raises:
        EvaluationError: No linked entity has a description.
    """
    contexts = [describe(found, kb, template) for found in entities_of(rows)]
    if not any(contexts):
        raise EvaluationError(
            "none of the linked entities has a description to paste into the text. Type: Entity(id, label, "
            "description=...) where the knowledge base is made, or leave the control 'text' out."
        )
    whole, _ = _read(rows, rows.texts, tokenizer, max_length)
    limit = min(max_length or tokenizer.model_max_length, tokenizer.model_max_length)
    cut = 0
    for i, context in enumerate(contexts):
        room = limit - len(whole[i]["input_ids"])
        spans = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        spans = spans["offset_mapping"]
        if len(spans) > room:
            cut += 1
            contexts[i] = context[: spans[room - 1][1]].rstrip() + " " if room > 0 else ""
    texts = [context + text for context, text in zip(contexts, rows.texts, strict=True)]
    features, found = _read(rows, texts, tokenizer, max_length)
    # A token may take the blank before a text with it.
    shifted = [
        [(max(0, start - len(c)), end - len(c)) if end > len(c) else (0, 0) for start, end in spans]
        for c, spans in zip(contexts, found, strict=True)
    ]
    return Reading(features, shifted), cut


def describe(entity_ids: Sequence[str], kb: KnowledgeBase, template: str = TEXT_TEMPLATE) -> str:
    """Return what is pasted before a text about these entities: empty, or it ends with a blank."""
    entities = [kb[entity_id] for entity_id in dict.fromkeys(entity_ids)]
    return "".join(
        template.format(label=entity.label, description=entity.description.strip()) + " "
        for entity in entities
        if entity.description and entity.description.strip()
    )


def linked_entities(reading: Reading, source: KnowledgeSource) -> list[list[str]]:
    """Return the entities whose virtual tokens the model sees in each row: truncation may have taken some away."""
    return [
        [
            name
            for token in row["input_ids"]
            if token in source.ids and source.ids.is_first(token) and (name := source.entity_id(token)) is not None
        ]
        for row in reading.features
    ]


def entities_of(rows: Rows) -> list[list[str]]:
    """Return the entities that are mentioned in each row, whatever the model sees of it."""
    seconds = rows.pair_mentions or [[] for _ in rows.mentions]
    return [[mention.entity_id for mention in (*a, *b)] for a, b in zip(rows.mentions, seconds, strict=True)]


def _read(
    rows: Rows,
    texts: list[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    mentions: list | None = None,
    pair_mentions: list | None = None,
) -> tuple[list[dict[str, list[int]]], list[list[tuple[int, int]]]]:
    """Return the features and the spans of a reading of these texts, which belong to the rows."""
    if tokenizer.pad_token_id is None:
        raise EvaluationError(
            "the tokenizer has no token for padding, so texts of different lengths make no batch. Type: "
            "tokenizer.pad_token = tokenizer.eos_token; model.config.pad_token_id = tokenizer.pad_token_id"
        )
    features: list[dict[str, list[int]]] = []
    spans: list[list[tuple[int, int]]] = []
    for start in range(0, len(texts), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        options: dict[str, Any] = {"truncation": True, "max_length": max_length, "return_offsets_mapping": True}
        if mentions is not None:
            options["mentions"] = mentions[part]
        if pair_mentions is not None:
            options["mentions_pair"] = pair_mentions[part]
        pairs = None if rows.pairs is None else rows.pairs[part]
        # What stands at the end of a text is not to be cut off, if it is what the model is asked for.
        at_the_end = rows.answers is not None and all(each.end == len(each.text) for each in rows.answers)
        with cut_from(tokenizer, "left") if at_the_end else nullcontext():
            encoded = tokenizer(texts[part], pairs, **options)
        names = [name for name in _FEATURES if name in encoded]
        for i in range(len(encoded["input_ids"])):
            features.append({name: encoded[name][i] for name in names})
            of_text = encoded.sequence_ids(i)
            offsets = encoded["offset_mapping"][i]
            spans.append([tuple(o) if of == 0 else (0, 0) for o, of in zip(offsets, of_text, strict=True)])
    return features, spans
