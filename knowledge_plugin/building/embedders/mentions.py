"""Vectors from the base model itself: what it expects where an entity is mentioned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from knowledge_plugin.building.embedders.base import Embedding, Source
from knowledge_plugin.errors import KnowledgeBaseError


class Span(Protocol):
    """Where an entity is mentioned; :class:`~knowledge_plugin.Mention` is one."""

    start: int
    end: int
    entity_id: str


@dataclass(frozen=True)
class MentionEmbedder:
    """Averages what a masked language model puts out where mentions of an entity are masked (PELT).

    Each mention is replaced by one mask. What enters the model's output layer there, summed over the sentences of an
    entity and brought to the mean length of a word embedding, is the entity's vector (Ye et al. 2022, "A Simple but
    Effective Pluggable Entity Lookup Table", section 3; their length is a constant found by trial). Such vectors are
    good for this very model, whose input and output embeddings must be tied.

    Args:
        model: A masked language model of transformers.
        tokenizer: Its tokenizer.
        sentences: Texts, each with its mentions: ``zip(texts, linker(texts))``.
        max_sentences: For each entity, the first so many.
        max_length: Tokens of a sentence; where the mask is beyond, the sentence is not used.
        batch_size: Sentences in a forward.
    """

    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    sentences: Iterable[tuple[str, Sequence[Span]]] = field(repr=False)
    max_sentences: int = 256
    max_length: int = 64
    batch_size: int = 64

    def __call__(self, source: Source) -> Embedding:
        """Run the model over all sentences that mention an entity of the source."""
        if getattr(self.tokenizer, "mask_token", None) is None or self.model.get_output_embeddings() is None:
            raise KnowledgeBaseError(
                "MentionEmbedder: expected a masked language model and its tokenizer with a mask token. Type: "
                "AutoModelForMaskedLM.from_pretrained(...)"
            )
        known = set(source.entities["id"].to_pylist())
        sums: dict[str, torch.Tensor] = {}
        counts: Counter[str] = Counter()
        masked = self._masked(known)
        columns = (SpinnerColumn(), TextColumn("{task.completed} mentions"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), disable=not source.progress, transient=True) as progress:
            task = progress.add_task("")
            while batch := list(islice(masked, self.batch_size)):
                found = self._outputs([text for text, _ in batch])
                for (_, entity_id), output in zip(batch, found, strict=True):
                    if output is not None and counts[entity_id] < self.max_sentences:
                        sums[entity_id] = sums.get(entity_id, torch.zeros_like(output)) + output
                        counts[entity_id] += 1
                progress.advance(task, len(batch))
        if not sums:
            raise KnowledgeBaseError("MentionEmbedder: no sentence mentions an entity. Expected mentions of known ids.")
        ids = list(sums)
        length = self.model.get_input_embeddings().weight.detach().float().norm(dim=1).mean().cpu()
        vectors = length * torch.nn.functional.normalize(torch.stack([sums[i] for i in ids]), dim=1)
        per_entity = sum(counts.values()) / len(ids)
        return Embedding(ids, vectors.numpy().astype(np.float32), {"sentences for each entity": per_entity})

    def _masked(self, known: set[str]) -> Iterator[tuple[str, str]]:
        taken: Counter[str] = Counter()
        for text, mentions in self.sentences:
            for mention in mentions:
                if mention.entity_id in known and taken[mention.entity_id] < 2 * self.max_sentences:
                    taken[mention.entity_id] += 1
                    masked = text[: mention.start] + self.tokenizer.mask_token + text[mention.end :]
                    yield masked, mention.entity_id

    def _outputs(self, texts: list[str]) -> list[torch.Tensor | None]:
        """Return what enters the output layer at the one mask of each text, ``None`` where it was cut off."""
        batch = self.tokenizer(texts, truncation=True, max_length=self.max_length, padding=True, return_tensors="pt")
        caught: list[torch.Tensor] = []
        layer = self.model.get_output_embeddings()
        handle = layer.register_forward_pre_hook(lambda module, args: caught.append(args[0]))
        was_training = self.model.training
        try:
            with torch.inference_mode():
                self.model.eval()(**batch.to(self.model.device))
        finally:
            handle.remove()
            self.model.train(was_training)
        is_mask = batch["input_ids"] == self.tokenizer.mask_token_id
        hidden = caught[0].float().cpu()
        return [row[mask][0] if mask.sum() == 1 else None for row, mask in zip(hidden, is_mask.cpu(), strict=True)]
