"""What a model is asked: one answer for a text, or words of the text; and what it answered at each scored place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.data_rows import by_number
from knowledge_plugin.errors import EvaluationError
from knowledge_plugin.evaluation.readings import Reading
from knowledge_plugin.evaluation.rows import Rows, class_labels, with_answers
from knowledge_plugin.injection.answers import (
    IGNORED,
    answer_places,
    answer_tokens,
    are_texts,
    generates,
    is_encoder_decoder,
    predicts_words,
)
from knowledge_plugin.injection.embeddings import bare_model, execution_device, input_embedding


class Answers(NamedTuple):
    """Of a batch: logits ``[n, classes]`` and labels of ``n`` scored places, and the row ``[n]`` that each is of."""

    logits: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor


class Task(Protocol):
    """What a model is asked about rows that were read in several ways.

    Attributes:
        name: As the Hub calls it, such as ``"text-classification"``.
        several_labels: Whether a text has several labels at once.
        is_number: Whether the answer is a number and not a class.
    """

    name: str
    several_labels: bool
    is_number: bool

    def answer(self, way: str, rows: Sequence[int]) -> Answers:
        """Run the model over some rows that were read in a certain way."""
        ...


def find_task(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, rows: Rows, readings: Mapping[str, Reading]
) -> Task:
    """Return what a model can be asked about rows; see which head it has by running it on the first one.

    Args:
        model: In evaluation mode.
        tokenizer: Its own.
        rows: Checked.
        readings: By name, ``"plain"`` and ``"linked"`` among them.

    Raises:
        EvaluationError: The model has no head for this, or the rows have not the labels that it needs.
    """
    if not predicts_words(model):
        return ClassTask(model, tokenizer, rows, readings)
    if rows.pairs is not None:
        raise EvaluationError(
            f"{type(model).__name__} predicts words, and rows have a 'text_pair': expected one text in each. Write "
            "both into 'text'."
        )
    if is_encoder_decoder(model):
        return TargetTask(model, tokenizer, rows, readings)
    if rows.answers is not None:
        return AnswerTask(model, tokenizer, rows, readings)
    return WordTask(model, tokenizer, rows, readings)


def write_answers(model: nn.Module, tokenizer: PreTrainedTokenizerBase, rows: Rows) -> Rows:
    """Return rows with their answers in the texts, where a model predicts words and the labels are texts.

    Raises:
        EvaluationError: A label is empty or no text, or has no mask token whose place it would take.
    """
    if not predicts_words(model) or is_encoder_decoder(model) or rows.pairs is not None or not are_texts(rows.labels):
        return rows
    return with_answers(rows, None if generates(model) else _mask_token(model, tokenizer))


class _Batches:
    """Makes batches of readings, on the model's device."""

    def __init__(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, side: str) -> None:
        self.model, self._tokenizer, self._side = model, tokenizer, side

    def __call__(self, reading: Reading, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        batch = self._tokenizer.pad([reading.features[i] for i in rows], return_tensors="pt", padding_side=self._side)
        return self.to_device(dict(batch))

    def to_device(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        device = execution_device(input_embedding(self.model))
        return {name: tensor.to(device) for name, tensor in batch.items()}

    def padded(self, labels: Sequence[list[int]]) -> torch.Tensor:
        longest = max(1, *map(len, labels))
        return torch.tensor([each + [IGNORED] * (longest - len(each)) for each in labels])


class ClassTask:
    """One answer for each text: a class, several classes at once, or a number."""

    name = "text-classification"

    def __init__(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, rows: Rows, readings: Mapping[str, Reading]
    ) -> None:
        self._model, self._readings = model, readings
        self._batch = _Batches(model, tokenizer, tokenizer.padding_side)
        self.labels = class_labels(rows.labels, self._logits("plain", [0]).shape[1])
        self.several_labels, self.is_number = self.labels.dim() == 2, self.labels.is_floating_point()

    def answer(self, way: str, rows: Sequence[int]) -> Answers:
        """Run the model over some rows that were read in a certain way."""
        numbers = torch.tensor(rows)
        return Answers(self._logits(way, rows), self.labels[numbers], numbers)

    def _logits(self, way: str, rows: Sequence[int]) -> torch.Tensor:
        logits = getattr(self._model(**self._batch(self._readings[way], rows)), "logits", None)
        if not isinstance(logits, torch.Tensor) or logits.shape[:-1] != (len(rows),):
            found = "none" if not isinstance(logits, torch.Tensor) else f"logits of shape {list(logits.shape)}"
            raise EvaluationError(
                f"{type(bare_model(self._model)).__name__}: expected a head that gives one answer for each text, or "
                f"words, found {found}. Type: AutoModelForSequenceClassification.from_pretrained(...)"
            )
        return logits.float().cpu()


class _ScoredWords:
    """Words that a model predicts, with the loss that the model itself returns."""

    several_labels = is_number = False

    def __init__(self, model: nn.Module, shift: int) -> None:
        self._model, self._shift = model, shift
        self._checked = False

    def _answers(self, batch: dict[str, torch.Tensor], labels: torch.Tensor, rows: Sequence[int]) -> Answers:
        output = self._model(**batch)
        targets = labels[:, self._shift :]
        scored = targets != IGNORED
        owners = torch.tensor(rows)[:, None].expand_as(targets)[scored]
        # What is as wide as the vocabulary leaves the model's device at scored places alone.
        logits = output.logits[:, : targets.shape[1]]
        answers = Answers(logits[scored.to(logits.device)].float().cpu(), targets[scored], owners)
        if not self._checked and len(owners):
            self._check(output, answers)
        return answers

    def _check(self, output: Any, answers: Answers) -> None:
        """Hold the loss of the first batch against the model's own, which scores the same words in its own way."""
        self._checked = True
        ours, theirs = functional.cross_entropy(answers.logits, answers.labels), getattr(output, "loss", None)
        if theirs is None or abs(float(theirs) - float(ours)) > 0.01 + 0.01 * float(ours):
            raise EvaluationError(
                f"{type(bare_model(self._model)).__name__}: expected a loss that is the cross-entropy of its logits, "
                f"found {theirs if theirs is None else float(theirs)} where that is {float(ours):.4f}."
            )


class _WordsOfTexts(_ScoredWords):
    """Words that stand in the texts, or of which masks stand there.

    Attributes:
        name: As the Hub calls what is asked.
    """

    def __init__(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
        self._decodes = generates(model)
        super().__init__(model, shift=int(self._decodes))
        self.name = "text-generation" if self._decodes else "fill-mask"
        self._batch = _Batches(model, tokenizer, "right")
        self._readings: dict[str, Reading] = {}
        self._labels: dict[str, list[list[int]]] = {}

    def answer(self, way: str, rows: Sequence[int]) -> Answers:
        """Run the model over some rows that were read in a certain way."""
        labels = self._batch.padded([self._labels[way][row] for row in rows])
        batch = self._batch(self._readings[way], rows)
        if not self._checked:
            batch |= self._batch.to_device({"labels": labels})
        return self._answers(batch, labels, rows)


class WordTask(_WordsOfTexts):
    """Words of the text: those of masked mentions, or, of a decoder, every word after those before it.

    The very same words are scored however a text is read: what is inserted never, and what truncation takes away in
    one reading in none.
    """

    def __init__(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, rows: Rows, readings: Mapping[str, Reading]
    ) -> None:
        super().__init__(model, tokenizer)
        decodes = self._decodes
        if not decodes:
            _mask_token(model, tokenizer)
        scored = [_common(row, rows, readings, decodes) for row in range(len(rows))]
        if not any(scored):
            raise EvaluationError(
                "no word of the dataset can be scored: a masked language model is asked for the mentions, beside "
                "their entities. Look at attachment.explain(text) for one of your texts, and use form='concat'."
                if not decodes
                else "no word of the dataset can be scored: expected texts of more than one token."
            )
        for way, reading in readings.items():
            self._labels[way] = [
                [token if (*span, token) in wanted else IGNORED for span, token in _tokens(reading, row)]
                for row, wanted in enumerate(scored)
            ]
            self._readings[way] = reading if decodes else _masked(reading, rows, tokenizer.mask_token_id)


class AnswerTask(_WordsOfTexts):
    """The words of an answer alone: behind the text of a decoder, in the place of the mask of another."""

    def __init__(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, rows: Rows, readings: Mapping[str, Reading]
    ) -> None:
        super().__init__(model, tokenizer)
        assert rows.answers is not None
        expected = answer_tokens(tokenizer, rows.answers, EvaluationError)
        for way, reading in readings.items():
            self._labels[way] = []
            features = []
            for answered, tokens, row, spans in zip(
                rows.answers, expected, reading.features, reading.spans, strict=True
            ):
                ids, labels = list(row["input_ids"]), [IGNORED] * len(row["input_ids"])
                for place in answer_places(answered, ids, spans, tokens, follows=self._decodes, error=EvaluationError):
                    labels[place] = ids[place]
                    if not self._decodes:
                        ids[place] = tokenizer.mask_token_id
                features.append(row | {"input_ids": ids})
                self._labels[way].append(labels)
            self._readings[way] = replace(reading, features=features)


class TargetTask(_ScoredWords):
    """The words of a target, which a model like T5 writes after it has read the text."""

    name = "text2text-generation"

    def __init__(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, rows: Rows, readings: Mapping[str, Reading]
    ) -> None:
        super().__init__(model, shift=0)
        self._readings, self._batch = readings, _Batches(model, tokenizer, tokenizer.padding_side)
        labels = [None] * len(rows) if rows.labels is None else rows.labels
        wrong = next((i for i, label in enumerate(labels) if not (isinstance(label, str) and label)), None)
        if wrong is not None:
            found = "none" if rows.labels is None else f"{labels[wrong]!r:.80} in {by_number(wrong)}"
            raise EvaluationError(
                f"{type(bare_model(model)).__name__} writes: expected a text as the label of each row, such as "
                f'{{"text": "Graz lies in <extra_id_0>.", "label": "<extra_id_0> Austria"}}; found {found}.'
            )
        self._labels: list[list[int]] = tokenizer(text_target=rows.labels, truncation=True)["input_ids"]

    def answer(self, way: str, rows: Sequence[int]) -> Answers:
        """Run the model over some rows that were read in a certain way."""
        labels = self._batch.padded([self._labels[row] for row in rows])
        # It makes what its decoder reads of the labels.
        batch = self._batch(self._readings[way], rows) | self._batch.to_device({"labels": labels})
        return self._answers(batch, labels, rows)


def _mask_token(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> str:
    if tokenizer.mask_token is None:
        raise EvaluationError(
            f"{type(bare_model(model)).__name__} predicts masked words: expected a tokenizer with a mask token."
        )
    return str(tokenizer.mask_token)


def _tokens(reading: Reading, row: int) -> list[tuple[tuple[int, int], int]]:
    return list(zip(reading.spans[row], reading.features[row]["input_ids"], strict=True))


def _common(row: int, rows: Rows, readings: Mapping[str, Reading], decodes: bool) -> set[tuple[int, int, int]]:
    """Return the words of a row, ``(start, end, token)``, that are to be scored: those that stand in every reading."""
    common: set[tuple[int, int, int]] | None = None
    for reading in readings.values():
        tokens = _tokens(reading, row)
        # Nothing stands before a first token that could predict it.
        found = {(*span, token) for i, (span, token) in enumerate(tokens) if span[0] < span[1] and (i or not decodes)}
        common = found if common is None else common & found
    common = common or set()
    return common if decodes else {word for word in common if _in_mention(word[:2], rows, row)}


def _in_mention(span: tuple[int, ...], rows: Rows, row: int) -> bool:
    return span[0] < span[1] and any(span[0] < m.end and span[1] > m.start for m in rows.mentions[row])


def _masked(reading: Reading, rows: Rows, mask_id: int) -> Reading:
    """Put the mask token in the place of every token of a mention."""
    features = [
        row | {"input_ids": [mask_id if _in_mention(span, rows, i) else t for span, t in _tokens(reading, i)]}
        for i, row in enumerate(reading.features)
    ]
    return replace(reading, features=features)
