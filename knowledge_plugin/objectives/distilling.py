"""Answers as the same frozen model gives them with the description in the text (self-distillation of xRAG)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.config import Form
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.answers import IGNORED, generates, is_encoder_decoder, predicts_words, prompt_mentions
from knowledge_plugin.injection.attachment import Attachment
from knowledge_plugin.injection.hook import Hook
from knowledge_plugin.modes import undisturbed
from knowledge_plugin.objectives.base import Added, with_virtual_ids
from knowledge_plugin.objectives.collator import TaskCollator

# Weight of the divergence beside the loss of the answer (Cheng et al., 2024, section 4).
_ALPHA = 2.0
_TEACHER = "teacher_"


class DistillingCollator(TaskCollator):
    """Makes batches of answers, each also as a teacher reads it: descriptions before the text, and no entity in it."""

    attachment: Attachment

    def use(self, attachment: Attachment) -> None:
        """Make batches for the model of an attachment."""
        super().use(attachment)
        self.attachment = attachment

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch of tensors; those of the teacher are called ``teacher_...``.

        Among them is ``teacher_told`` ``[batch]``: whether there is a description before a text.

        Raises:
            TrainingError: As of :class:`TaskCollator`; or a label is no text.
        """
        assert self.tokenizer is not None
        batch = super().__call__(rows)
        answers = [row.get("label") for row in rows]
        if "text" not in rows[0] or not all(isinstance(answer, str) for answer in answers):
            raise TrainingError(
                "distil: expected rows with a text as their label, such as "
                '{"text": "Ada lives in", "label": "Graz"}: the answer as the model gives it with the description in '
                "the text is what is learned from."
            )
        texts, given = [row["text"] for row in rows], [row.get("mentions") for row in rows]
        found, kb = prompt_mentions(self.tokenizer, texts, given), self.attachment.source.knowledge_base
        contexts = [[kb[m.entity_id].description for m in mentions if m.entity_id in kb] for mentions in found]
        told = [" ".join([*filter(None, context), text]) for context, text in zip(contexts, texts, strict=True)]
        teacher = self._behind(told, answers, [[] for _ in rows])  # type: ignore[arg-type]
        teacher["told"] = torch.tensor([any(context) for context in contexts])
        return batch | {f"{_TEACHER}{name}": tensor for name, tensor in teacher.items()}


@contextmanager
def distilling(model: nn.Module, hook: Hook, inputs: dict[str, Any]) -> Iterator[Added]:
    """Add ``alpha KL(teacher | student)`` at the tokens of the answer, the teacher being the model itself."""
    teacher = {n.removeprefix(_TEACHER): inputs.pop(n) for n in list(inputs) if n.startswith(_TEACHER)}
    labels, answers, _ = inputs["labels"], teacher.pop("labels"), teacher.pop("told")

    def added(outputs: Any) -> torch.Tensor:
        with undisturbed(model):
            wanted = _answers(model(**teacher).logits, answers)
        return _ALPHA * functional.kl_div(
            _answers(outputs["logits"], labels).log_softmax(-1), wanted.softmax(-1), reduction="batchmean"
        )

    yield added


def with_description(hook: Hook, batch: dict[str, Any]) -> list[bool]:
    """Return which rows of a batch have an entity that the teacher is told of: of others nothing can be learned."""
    told = batch[f"{_TEACHER}told"].tolist()
    return [mentioned and known for mentioned, known in zip(with_virtual_ids(hook, batch), told, strict=True)]


def nothing_to_distil(model: nn.Module, tokenizer: PreTrainedTokenizerBase, form: Form) -> str | None:
    """Say what a model lacks to be its own teacher."""
    if not predicts_words(model) or not generates(model) or is_encoder_decoder(model):
        return "a decoder. Type: AutoModelForCausalLM.from_pretrained(...)"
    return None


def _answers(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the logits ``[scored, vocabulary]`` that predict the tokens of answers, in order of the batch."""
    return logits[:, :-1][(labels[:, 1:] != IGNORED).to(logits.device)].float()
