"""How each task is put to a model: its head, its batches, its loss and its metric.

The same batches serve fine-tuning, map-tuning and testing, with a plugin attached or not.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from examples.paper.fewrel import Episode
from examples.paper.metrics import accuracy, chosen_types, micro_f1
from examples.paper.sources import DataError, Row
from knowledge_plugin.injection.tokenizer import base_tokenizer

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Head:
    """One text, one class: Wiki80, and FewRel as plain classification.

    Attributes:
        classes: How many there are.
        max_length: Tokens of a text, or of a pair of texts.
        batch_size: Rows of a batch when testing.
    """

    classes: int
    max_length: int = 128
    batch_size: int = 32

    metric = "accuracy"
    is_trained = True  # whether the head learns where LoRA, adapters and BitFit leave the rest of the model alone

    def load(self, base: str) -> PreTrainedModel:
        """Load a base model with this head."""
        # That the head is new is no news here.
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()
        try:
            return self._load(base)
        finally:
            transformers_logging.set_verbosity(verbosity)

    def _load(self, base: str) -> PreTrainedModel:
        return AutoModelForSequenceClassification.from_pretrained(base, num_labels=self.classes)

    def sentences(self, rows: Sequence[Any]) -> Sequence[Row]:
        """Return every sentence that a model reads for some rows, as often as it does."""
        return rows

    def batch(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Any]) -> Batch:
        """Return a batch with ``labels``; entities go in if the tokenizer is that of an attachment."""
        return {**self._encode(tokenizer, rows), "labels": torch.tensor([row["label"] for row in rows])}

    def _encode(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], pairs: Sequence[Row] | None = None
    ) -> Batch:
        options: dict[str, Any] = {}
        if base_tokenizer(tokenizer) is not tokenizer:
            options["mentions"] = [row["mentions"] for row in rows]
            if pairs is not None:
                options["mentions_pair"] = [row["mentions"] for row in pairs]
        texts = [row["text"] for row in rows]
        second = None if pairs is None else [row["text"] for row in pairs]
        options |= {"padding": True, "truncation": True, "max_length": self.max_length, "return_tensors": "pt"}
        with warnings.catch_warnings():
            # The table says how many mentions were linked; of entities that have no vector there are some.
            warnings.filterwarnings("ignore", message="none of the entities in mentions=")
            return dict(tokenizer(texts, second, **options))

    def logits(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        """Return logits ``[n, choices]`` of what the model gave for a batch."""
        return outputs["logits"]

    def loss(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None) -> Any:
        """Return the mean loss, or the sum over ``num_items_in_batch``, as ``Trainer(compute_loss_func=)`` wants it."""
        total = functional.cross_entropy(self.logits(outputs, labels), self.answers(labels), reduction="sum")
        return total / (len(self.answers(labels)) if num_items_in_batch is None else num_items_in_batch)

    def answers(self, labels: torch.Tensor) -> torch.Tensor:
        """Return what is to be said, a row for each row of :meth:`logits`."""
        return labels

    def score(self, logits: torch.Tensor, answers: torch.Tensor) -> float:
        """Return the metric of the task."""
        return accuracy(logits, answers)


class TypesHead(Head):
    """One text, several types: Wiki-ET."""

    metric = "micro-F1"

    def batch(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> Batch:
        """Return a batch whose labels are ``[n, types]`` of 0 and 1, as floats."""
        batch = super().batch(tokenizer, rows)
        return batch | {"labels": batch["labels"].float()}

    def loss(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None) -> Any:
        """Return binary cross-entropy; Trainer counts every 0 and 1 as an item."""
        total = functional.binary_cross_entropy_with_logits(outputs["logits"], labels, reduction="sum")
        return total / (labels.numel() if num_items_in_batch is None else num_items_in_batch)

    def score(self, logits: torch.Tensor, answers: torch.Tensor) -> float:
        """Return micro-F1 under the rule of the paper."""
        return micro_f1(chosen_types(logits), answers).f1


class MaskHead(Head):
    """One text with one mask, one word piece of the whole vocabulary: EntityQuestions."""

    is_trained = False  # the base knows how to fill in a mask, and its head shares the word embeddings

    def _load(self, base: str) -> PreTrainedModel:
        return AutoModelForMaskedLM.from_pretrained(base)

    def batch(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> Batch:
        """Return a batch whose labels are the answer at the mask, and -100 elsewhere."""
        batch = self._encode(tokenizer, rows)
        masked = batch["input_ids"] == tokenizer.mask_token_id
        if not bool((masked.sum(1) == 1).all()):
            row = int((masked.sum(1) != 1).nonzero()[0])
            raise DataError(
                f"expected one mask among the first {self.max_length} tokens, found {int(masked[row].sum())} in "
                f"{rows[row]['text']!r:.120}."
            )
        labels = torch.full_like(batch["input_ids"], -100)
        labels[masked] = torch.tensor([row["label"] for row in rows])
        return batch | {"labels": labels}

    def logits(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        """Return logits ``[n, vocabulary]`` at the masks."""
        return outputs["logits"][labels != -100]

    def answers(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the answers ``[n]``."""
        return labels[labels != -100]


@dataclass(frozen=True)
class _EpisodeHead(Head):
    """One query, K sentences of each of N relations.

    Attributes:
        shots: K; N is ``classes``.
    """

    shots: int = 1

    def batch(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Episode]) -> Batch:
        """Return a batch of as many texts as the episodes need, and a label for each episode."""
        encoded = self._encode(tokenizer, self.sentences(rows))
        return {**encoded, "labels": torch.tensor([row["label"] for row in rows])}


class PairHead(_EpisodeHead):
    """The paper's cross-encoder for FewRel: ``[CLS] query [SEP] support [SEP]`` gives one number; mean over K."""

    def _load(self, base: str) -> PreTrainedModel:
        return AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)

    def sentences(self, rows: Sequence[Episode]) -> Sequence[Row]:
        """Return all queries, each as often as it has supports, and then all supports."""
        supports = [support for row in rows for relation in row["supports"] for support in relation]
        return [row["query"] for row in rows for _ in range(self.classes * self.shots)] + supports

    def batch(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Episode]) -> Batch:
        """Return a batch of pairs, and a label for each episode."""
        sentences = self.sentences(rows)
        half = len(sentences) // 2
        encoded = self._encode(tokenizer, sentences[:half], sentences[half:])
        return {**encoded, "labels": torch.tensor([row["label"] for row in rows])}

    def logits(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean over the K sentences of each relation, ``[n, N]``."""
        return outputs["logits"].view(len(labels), self.classes, self.shots).mean(-1)


class PrototypeHead(_EpisodeHead):
    """Prototypes for FewRel: how near the query lies to the mean of each relation's sentences."""

    def _load(self, base: str) -> PreTrainedModel:
        return AutoModel.from_pretrained(base)

    def sentences(self, rows: Sequence[Episode]) -> Sequence[Row]:
        """Return each query, followed by its supports."""
        sentences = []
        for row in rows:
            sentences += [row["query"], *(support for relation in row["supports"] for support in relation)]
        return sentences

    def logits(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        """Return minus the squared distances of the first token's states, ``[n, N]``."""
        states = outputs["last_hidden_state"][:, 0].view(len(labels), 1 + self.classes * self.shots, -1)
        prototypes = states[:, 1:].reshape(len(labels), self.classes, self.shots, -1).mean(2)
        return -(states[:, :1] - prototypes).square().sum(-1)
