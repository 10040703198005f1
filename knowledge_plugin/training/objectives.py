"""What the mapping learns from: the objectives of map-tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.config import Form
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.training.collator import LinkingCollator, TaskCollator
from knowledge_plugin.training.mentions import MentionCLMCollator, MentionMLMCollator, MentionSeq2SeqCollator
from knowledge_plugin.training.scoring import ScoredLoss

ObjectiveName = Literal["task", "mention-mlm", "mention-clm", "mention-seq2seq"]

# What the published general map-tuning recommends: without it the mapping relies on the text around a mention.
_DROPOUT = 0.25


@dataclass(frozen=True)
class Objective:
    """One of the objectives.

    Attributes:
        collator: Makes its batches.
        base_dropout: Dropout of the frozen model, if none is asked for; ``None`` for its own.
        loss: Its loss, ``None`` for the one that the model returns.
        missing: Says what a model, its tokenizer and the form of injection lack for it, ``None`` if nothing.
    """

    collator: Callable[[int], LinkingCollator]
    base_dropout: float | None
    loss: ScoredLoss | None
    missing: Callable[[nn.Module, PreTrainedTokenizerBase, Form], str | None]


def find_objective(name: str) -> Objective:
    """Return an objective by its name.

    Raises:
        TrainingError: There is no such objective.
    """
    if name not in OBJECTIVES:
        raise TrainingError(f"objective: expected one of {', '.join(map(repr, OBJECTIVES))}, found {name!r}.")
    return OBJECTIVES[name]


def _missing_for_mlm(model: nn.Module, tokenizer: PreTrainedTokenizerBase, form: Form) -> str | None:
    if not _predicts_words(model) or _generates(model):
        return "a masked language model. Type: AutoModelForMaskedLM.from_pretrained(...)"
    if tokenizer.mask_token_id is None:
        return "a tokenizer with a mask token"
    return _missing_mention(form)


def _missing_for_clm(model: nn.Module, tokenizer: PreTrainedTokenizerBase, form: Form) -> str | None:
    if not _predicts_words(model) or not _generates(model) or _is_encoder_decoder(model):
        return "a decoder. Type: AutoModelForCausalLM.from_pretrained(...)"
    return _missing_mention(form)


def _missing_for_seq2seq(model: nn.Module, tokenizer: PreTrainedTokenizerBase, form: Form) -> str | None:
    if not _predicts_words(model) or not _is_encoder_decoder(model):
        return "an encoder-decoder such as T5. Type: AutoModelForSeq2SeqLM.from_pretrained(...)"
    if tokenizer.convert_tokens_to_ids("<extra_id_0>") in (None, tokenizer.unk_token_id):
        return "a tokenizer with T5's sentinels <extra_id_0>, <extra_id_1>, ..."
    return _missing_mention(form)


def _missing_mention(form: Form) -> str | None:
    if form == "replace":
        return "mentions that stay in the text beside their entity. Type: form='concat'"
    return None


def _predicts_words(model: nn.Module) -> bool:
    get = getattr(bare_model(model), "get_output_embeddings", None)
    return get is not None and get() is not None


def _generates(model: nn.Module) -> bool:
    can = getattr(bare_model(model), "can_generate", None)
    return can is not None and bool(can())


def _is_encoder_decoder(model: nn.Module) -> bool:
    return bool(getattr(getattr(bare_model(model), "config", None), "is_encoder_decoder", False))


OBJECTIVES: dict[str, Objective] = {
    "task": Objective(lambda seed: TaskCollator(), None, None, lambda model, tokenizer, form: None),
    "mention-mlm": Objective(MentionMLMCollator, _DROPOUT, ScoredLoss(shift=0), _missing_for_mlm),
    "mention-clm": Objective(MentionCLMCollator, _DROPOUT, ScoredLoss(shift=1), _missing_for_clm),
    "mention-seq2seq": Objective(MentionSeq2SeqCollator, _DROPOUT, ScoredLoss(shift=0), _missing_for_seq2seq),
}
