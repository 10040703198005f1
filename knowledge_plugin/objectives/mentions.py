"""Batches that ask the frozen model for the mentions themselves: text in which entities occur, and no labels."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import BatchEncoding

from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.attachment import Attachment
from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.injection.source import KnowledgeSource
from knowledge_plugin.linking.mention import Mention
from knowledge_plugin.objectives.collator import LinkingCollator, check_alike

IGNORED = -100  # label of a place that is not scored, as everywhere in transformers


class MentionPlace(NamedTuple):
    """Where a linked mention lies in a row of tokens: its virtual token, and the tokens of its own words."""

    virtual: int
    pieces: np.ndarray


def word_pieces(offsets: np.ndarray, mention: Mention) -> np.ndarray:
    """Return which tokens of a row, by their offsets ``[length, 2]``, are words of a mention."""
    starts, ends = offsets[:, 0], offsets[:, 1]
    # Inserted and special tokens span no characters, so that these are words of the text alone.
    return np.flatnonzero((starts < ends) & (starts < mention.end) & (ends > mention.start))


class LinkedBatch(NamedTuple):
    """Tokenized texts, padded to the longest, and the mentions in each that have a virtual token."""

    encoding: BatchEncoding
    places: list[list[MentionPlace]]


class MentionCollator(LinkingCollator):
    """What the collators of the mention objectives share. A row has ``text``, and perhaps ``mentions``.

    Only the plugin that learns links; of several mentions in a text, a random part is asked for, drawn afresh each
    epoch. The draw depends on seed, epoch and text alone, so that neither the number of processes nor an interruption
    changes it.

    Args:
        seed: Of the draws.
        draws: Draw anew each epoch (training), or ask for all mentions (evaluation).
    """

    def __init__(self, seed: int = 0, draws: bool = True) -> None:
        super().__init__()
        self.seed, self.draws = seed, draws
        self.epoch = 0
        self.source: KnowledgeSource | None = None

    def use(self, attachment: Attachment) -> None:
        """Make batches for the model of an attachment."""
        super().use(attachment)
        self.source = attachment.source

    def for_evaluation(self) -> MentionCollator:
        """Return a collator that asks for every mention, and so for the same at each evaluation."""
        other = copy.copy(self)
        other.draws = False
        return other

    def encode(self, rows: Sequence[dict[str, Any]]) -> LinkedBatch:
        """Tokenize rows, and find the tokens of every linked mention.

        Raises:
            TrainingError: A row has no ``text``, or some have what others have not.
            LinkingError: Mentions are not given, and nothing finds them.
        """
        assert self.tokenizer is not None
        assert self.source is not None
        check_alike(rows)
        if "text" not in rows[0]:
            raise TrainingError(
                f"a row of the dataset has the columns {sorted(rows[0])}; expected 'text', and perhaps 'mentions': "
                "which tokens belong to a mention cannot be told from rows that are tokenized already."
            )
        texts = [row["text"] for row in rows]
        mentions = self._find(texts, rows)
        encoding = self.tokenizer(
            texts, mentions=mentions, padding=True, truncation=True, return_offsets_mapping=True, return_tensors="np"
        )
        offsets = encoding.pop("offset_mapping")
        places = [self._places(*row) for row in zip(encoding["input_ids"], offsets, mentions, strict=True)]
        return LinkedBatch(encoding, places)

    def _find(self, texts: list[str], rows: Sequence[dict[str, Any]]) -> list[list[Mention]]:
        assert self.source is not None
        if "mentions" in rows[0]:
            return self.source.given([row["mentions"] for row in rows], texts)
        return self.source.find(texts)

    def _places(self, ids: np.ndarray, offsets: np.ndarray, mentions: list[Mention]) -> list[MentionPlace]:
        assert self.source is not None
        places = []
        for mention in mentions:
            pieces = word_pieces(offsets, mention)
            before = np.flatnonzero(ids[: pieces[0] if len(pieces) else 0] == self.source.token_id(mention))
            if len(before):  # else it was truncated away, or is written with special tokens
                places.append(MentionPlace(int(before[-1]), pieces))
        return places

    def draw(self, text: str, places: list[MentionPlace]) -> list[MentionPlace]:
        """Return a random part of the mentions, at least one if there is any; every part is equally likely."""
        if not self.draws or len(places) < 2:
            return places
        rng = random.Random(f"{self.seed} {self.epoch} {text}")
        while True:
            if chosen := [place for place in places if rng.random() < 0.5]:
                return chosen


class MentionMLMCollator(MentionCollator):
    """Masks mentions, and asks a masked language model for them: the published general map-tuning.

    The virtual token of an entity stays; each word piece of the mention becomes the mask token and is to be predicted
    (Zhang et al., 2023, section 3.3). With two mentions in a sentence both, the first, or the second are masked.
    """

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch with ``labels``: the token at masked places, -100 elsewhere."""
        assert self.tokenizer is not None
        encoding, places = self.encode(rows)
        ids = encoding["input_ids"]
        labels = np.full_like(ids, IGNORED)
        for i, (row, found) in enumerate(zip(rows, places, strict=True)):
            for place in self.draw(row["text"], found):
                labels[i, place.pieces] = ids[i, place.pieces]
                ids[i, place.pieces] = self.tokenizer.mask_token_id
        return _tensors(encoding, labels)


class MentionCLMCollator(MentionCollator):
    """Asks a decoder for what follows an entity: the tokens of its mention, and the rest of the text."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch with ``labels``: the token from the first mention on, -100 before and at inserted tokens."""
        encoding, places = self.encode(rows)
        ids, inserted = encoding["input_ids"], encoding["attention_mask"] == 0
        labels = np.full_like(ids, IGNORED)
        for i, found in enumerate(places):
            for place in found:
                inserted[i, place.virtual : place.pieces[0]] = True
            if found:
                labels[i, found[0].pieces[0] :] = ids[i, found[0].pieces[0] :]
        labels[inserted] = IGNORED
        return _tensors(encoding, labels)


class MentionSeq2SeqCollator(MentionCollator):
    """Puts a sentinel in the place of each drawn mention, and asks the decoder for what stood there, as T5 was trained.

    ``[entity] / Graz`` becomes ``[entity] / <extra_id_0>``, and the target ``<extra_id_0> Graz <extra_id_1>``.
    """

    start_id: int

    def use(self, attachment: Attachment) -> None:
        """Make batches for the model of an attachment."""
        super().use(attachment)
        self.start_id = bare_model(attachment.model).config.decoder_start_token_id  # type: ignore[union-attr,assignment]

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch with ``labels``: what the decoder is to write, and -100 behind; and with what it reads."""
        assert self.tokenizer is not None
        encoding, places = self.encode(rows)
        inputs, targets = [], []
        for i, (row, found) in enumerate(zip(rows, places, strict=True)):
            keep = encoding["attention_mask"][i] == 1
            ids, target = encoding["input_ids"][i].copy(), []
            drawn = self.draw(row["text"], found)
            for number, place in enumerate(drawn):
                sentinel = self.sentinel(number)
                target += [sentinel, *ids[place.pieces]]
                ids[place.pieces[0]] = sentinel
                keep[place.pieces[1:]] = False
            ends = [self.sentinel(len(drawn)), self.tokenizer.eos_token_id]  # not every tokenizer ends a text
            targets.append([*target, *(i for i in ends if i is not None)] if drawn else [])
            inputs.append({"input_ids": ids[keep].tolist()})
        longest = max(1, *map(len, targets))
        labels = np.array([target + [IGNORED] * (longest - len(target)) for target in targets])
        encoding = self.tokenizer.pad(inputs, return_tensors="np")
        read = np.roll(labels, 1, axis=1)
        read[:, 0] = self.start_id
        encoding["decoder_input_ids"] = np.where(read == IGNORED, self.tokenizer.pad_token_id, read)
        return _tensors(encoding, labels)

    def sentinel(self, number: int) -> int:
        """Return the id of T5's sentinel of this number."""
        assert self.tokenizer is not None
        return int(self.tokenizer.convert_tokens_to_ids(f"<extra_id_{number}>"))  # type: ignore[arg-type]


def _tensors(encoding: BatchEncoding, labels: np.ndarray) -> dict[str, torch.Tensor]:
    return {
        name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in {**encoding, "labels": labels}.items()
    }
