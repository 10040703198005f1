"""How probable words are at a blank, to a decoder, a masked language model or a model like T5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.errors import EvaluationError
from knowledge_plugin.evaluation.propagation.reading import BLANK, BLANK_END
from knowledge_plugin.injection.answers import IGNORED, generates, is_encoder_decoder, predicts_words
from knowledge_plugin.injection.embeddings import bare_model, execution_device, input_embedding
from knowledge_plugin.linking.mention import Mention

Kind = Literal["causal", "masked", "seq2seq"]

_AT_A_TIME = 2_000  # texts that are tokenized together


class Filled(NamedTuple):
    """A sentence with something in its blank.

    Attributes:
        before: Up to the blank.
        span: What is in it.
        after: From the blank on.
        context: What stands before the sentence; empty, or it ends with a blank.
        mentions: Of entities, in characters of ``before + after``.
    """

    before: str
    span: str
    after: str
    context: str = ""
    mentions: tuple[Mention, ...] = ()


@dataclass
class SpanScores:
    """What a model makes of ``n`` spans.

    Attributes:
        log_prob: The sum of the log-probabilities of a span's tokens, float64 ``[n]``.
        tokens: How many tokens that are, int64 ``[n]``.
        cut: In how many texts a part of the context was left out, so that the sentence stays whole.
    """

    log_prob: np.ndarray
    tokens: np.ndarray
    cut: int = 0


@dataclass
class _Sequence:
    """One row of a batch: what the model reads, and the tokens that are looked up in what it answers."""

    owner: int
    features: dict[str, list[int]]
    places: list[int]  # of logits
    targets: list[int]
    labels: list[int] = field(default_factory=list)  # what a decoder beside an encoder writes


class SpanScorer:
    """Scores spans, with the model as it is when it is called.

    - A decoder reads the whole sentence; only the span's tokens count, each after those before it. What stands behind
      the blank therefore changes nothing but how the span is cut into tokens.
    - A masked language model reads as many masks as the span has tokens, with both sides. The span is filled in from
      left to right: its n-th token is asked for with those before it in place, and masks from there on. That is a
      probability over spans of so many tokens; asking for each token with all others in place (Salazar et al., 2020)
      would let a word's own pieces give it away.
    - A model like T5 reads the sentence with its first sentinel in the blank, and writes the span between the first and
      the second.

    Scores are not divided by length.

    Args:
        model: In evaluation mode.
        tokenizer: Its own.
        batch_size: Sequences per forward pass.
        max_length: Tokens that a text may have; ``None`` for what tokenizer and model can read.

    Raises:
        EvaluationError: The model predicts no words, or its tokenizer has not the mask or the sentinels.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int = 32,
        max_length: int | None = None,
    ) -> None:
        if not predicts_words(model):
            raise EvaluationError(
                f"{type(bare_model(model)).__name__}: expected a language model, whose head predicts words. Type: "
                "AutoModelForCausalLM.from_pretrained(...), AutoModelForMaskedLM or AutoModelForSeq2SeqLM"
            )
        self.kind: Kind = "seq2seq" if is_encoder_decoder(model) else "causal" if generates(model) else "masked"
        if self.kind == "masked" and tokenizer.mask_token_id is None:
            raise EvaluationError(f"{type(bare_model(model)).__name__}: expected a tokenizer with a mask token.")
        if self.kind == "seq2seq":
            self._sentinels = [_sentinel(tokenizer, token) for token in (BLANK, BLANK_END)]
        if tokenizer.pad_token_id is None and self.kind != "causal":
            raise EvaluationError("the tokenizer has no token for padding. Type: tokenizer.pad_token = ...")
        self._model, self._tokenizer, self._batch_size = model, tokenizer, batch_size
        of_model = getattr(getattr(bare_model(model), "config", None), "max_position_embeddings", None)
        limits = (max_length, tokenizer.model_max_length, of_model)
        # Relative positions have no limit, and some configs call that -1.
        self._limit = min(limit for limit in (*limits, 2**31) if isinstance(limit, int) and limit > 0)

    def __call__(self, filled: Sequence[Filled], tokenizer: PreTrainedTokenizerBase | None = None) -> SpanScores:
        """Score the spans.

        Args:
            filled: The sentences.
            tokenizer: The tokenizer of an attachment, which puts entities at mentions; ``None`` reads without.

        Raises:
            EvaluationError: A sentence is longer than the model reads, or nothing stands before a span that a decoder
                could predict it from, or the model gives no number.
        """
        scores = SpanScores(np.zeros(len(filled)), np.zeros(len(filled), dtype=np.int64))
        for start in range(0, len(filled), _AT_A_TIME):
            part = filled[start : start + _AT_A_TIME]
            sequences, cut = self._sequences(part, tokenizer)
            scores.cut += cut
            # The longest first: too little memory is noticed at once.
            sequences.sort(key=lambda each: -len(each.features["input_ids"]))
            for at in range(0, len(sequences), self._batch_size):
                batch = sequences[at : at + self._batch_size]
                for each, log_prob in zip(batch, self._run(batch), strict=True):
                    scores.log_prob[start + each.owner] += log_prob
                    scores.tokens[start + each.owner] += len(each.targets)
        self._check_numbers(filled, scores)
        return scores

    def _check_numbers(self, filled: Sequence[Filled], scores: SpanScores) -> None:
        """See that no score is NaN: no answer would be right, since nothing is likelier than that, and nobody told."""
        if len(wrong := np.isnan(scores.log_prob).nonzero()[0]):
            each = filled[wrong[0]]
            raise EvaluationError(
                f"{type(bare_model(self._model)).__name__}: expected a probability of {each.span!r:.40} after "
                f"{each.before!r:.80}, found NaN, in {len(wrong)} of {len(filled)} texts. Half a precision overflows "
                "in some models. Type: model.float(), or load it with dtype=torch.bfloat16"
            )

    # ---- as tokens -----------------------------------------------------------------------------------------------

    def _sequences(
        self, filled: Sequence[Filled], tokenizer: PreTrainedTokenizerBase | None
    ) -> tuple[list[_Sequence], int]:
        encoded, cut = self._encoded(list(filled), tokenizer)
        found: list[_Sequence] = []
        if self.kind == "seq2seq":
            targets = [f"{BLANK} {each.span} {BLANK_END}" for each in filled]
            written = self._tokenizer(text_target=targets, verbose=False)["input_ids"]
            for owner, ((features, _, _), labels) in enumerate(zip(encoded, written, strict=True)):
                first, last = (labels.index(sentinel) for sentinel in self._sentinels)
                places = list(range(first + 1, last))
                _check(places, filled[owner])
                found.append(_Sequence(owner, features, places, [labels[i] for i in places], labels))
            return found, cut
        for owner, (features, spans, (begin, end)) in enumerate(encoded):
            places = _places(spans, begin, end)
            ids = features["input_ids"]
            _check(places, filled[owner])
            if self.kind == "causal":
                if places[0] == 0:
                    raise EvaluationError(
                        f"the blank of {filled[owner].span!r:.40}{filled[owner].after!r:.80} comes first in its "
                        "sentence: nothing stands before it that a decoder could predict it from. Leave the row out."
                    )
                found.append(_Sequence(owner, features, [i - 1 for i in places], [ids[i] for i in places]))
                continue
            for n, place in enumerate(places):
                hidden = set(places[n:])
                read = [self._tokenizer.mask_token_id if i in hidden else token for i, token in enumerate(ids)]
                found.append(_Sequence(owner, features | {"input_ids": read}, [place], [ids[place]]))
        return found, cut

    def _encoded(
        self, filled: list[Filled], tokenizer: PreTrainedTokenizerBase | None
    ) -> tuple[list[tuple[dict[str, list[int]], list[tuple[int, int]], tuple[int, int]]], int]:
        """Return features, offsets and the place of the span in characters; contexts are cut where they do not fit."""
        texts = [self._text(each) for each in filled]
        options: dict[str, Any] = {"return_offsets_mapping": True, "verbose": False}
        if tokenizer is not None:
            options["mentions"] = [_shifted(each, place) for each, (_, place) in zip(filled, texts, strict=True)]
        encoded = (tokenizer or self._tokenizer)([text for text, _ in texts], **options)
        names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in encoded]
        found = []
        cut = 0
        for i, (text, place) in enumerate(texts):
            features = {name: encoded[name][i] for name in names}
            spans = encoded["offset_mapping"][i]
            excess = len(features["input_ids"]) - self._limit
            if excess > 0:
                context = filled[i].context
                ends = [b for a, b in spans if a < b <= len(context)]
                if not ends:
                    raise EvaluationError(
                        f"the text {text!r:.80} has {len(spans)} tokens: expected at most {self._limit}. Leave the row "
                        "out, or give a larger max_length if the model reads more."
                    )
                # Several tokens may be parts of one character: it goes as a whole, so that something always does.
                kept = [b for b in ends[: max(0, len(ends) - excess)] if b < ends[-1]]
                shorter = context[: kept[-1]].rstrip() + " " if kept else ""
                # Once more, since what is cut in two may be more tokens than before.
                again, _ = self._encoded([filled[i]._replace(context=shorter)], tokenizer)
                found.append(again[0])
                cut += 1
                continue
            found.append((features, spans, place))
        return found, cut

    def _text(self, filled: Filled) -> tuple[str, tuple[int, int]]:
        """Return what is read, and which characters of it are the blank."""
        inside = BLANK if self.kind == "seq2seq" else filled.span
        head = filled.context + filled.before + (" " if filled.before else "")
        return head + inside + filled.after, (len(head), len(head) + len(inside))

    # ---- through the model ---------------------------------------------------------------------------------------

    def _run(self, batch: Sequence[_Sequence]) -> list[float]:
        """Return the log-probability of the targets of each sequence, summed."""
        device = execution_device(input_embedding(self._model))
        inputs = {
            name: _padded([each.features[name] for each in batch], self._padding(name)).to(device)
            for name in batch[0].features
        }
        if self.kind == "seq2seq":
            inputs["labels"] = _padded([each.labels for each in batch], IGNORED).to(device)
        logits = self._model(**inputs).logits
        rows = [row for row, each in enumerate(batch) for _ in each.places]
        places = [place for each in batch for place in each.places]
        targets = torch.tensor([target for each in batch for target in each.targets])
        # What is as wide as the vocabulary leaves the model's device at scored places alone.
        scored = logits[torch.tensor(rows, device=logits.device), torch.tensor(places, device=logits.device)]
        found = scored.float().log_softmax(-1).cpu().gather(1, targets[:, None])[:, 0].double()
        sums = torch.zeros(len(batch), dtype=torch.float64).index_add_(0, torch.tensor(rows), found)
        return sums.tolist()

    def _padding(self, name: str) -> int:
        # A decoder is padded behind, where nothing looks: any token will do.
        pad = self._tokenizer.pad_token_id
        return (0 if pad is None else pad) if name == "input_ids" else 0


def _padded(rows: Sequence[list[int]], value: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


def _places(spans: Sequence[tuple[int, int]], begin: int, end: int) -> list[int]:
    """Return which tokens are a span, with the blank before it: that is a part of its first token, or one of its own.

    What costs one span a token must cost it every span: options would else be compared with and without their blank.
    """
    places = [i for i, (a, b) in enumerate(spans) if a < b and a < end and b > begin]
    # Offsets of a blank are its own, or, where blanks are trimmed off, empty; so are those of special tokens, at 0.
    while begin and places and places[0] and spans[places[0] - 1] in ((begin - 1, begin), (begin, begin)):
        places.insert(0, places[0] - 1)
    return places


def _shifted(filled: Filled, place: tuple[int, int]) -> list[Mention]:
    """Return the mentions of a sentence where they stand in the whole text."""
    at_blank, found = len(filled.before), []
    for mention in filled.mentions:
        shift = len(filled.context) if mention.end <= at_blank else place[1] - at_blank
        found.append(mention._replace(start=mention.start + shift, end=mention.end + shift))
    return found


def _check(places: Sequence[int], filled: Filled) -> None:
    if not places:
        raise EvaluationError(f"{filled.span!r:.80} has no token: expected a text that the tokenizer can read.")


def _sentinel(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(found, int) or tokenizer(token, add_special_tokens=False)["input_ids"] != [found]:
        raise EvaluationError(
            f"an encoder-decoder writes what belongs between sentinels: expected {token!r} in the tokenizer's "
            "vocabulary, as T5 has it, found none."
        )
    return found
