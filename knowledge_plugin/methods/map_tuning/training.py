"""How map-tuning learns: the objectives of the mapping network."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.config import Form
from knowledge_plugin.injection.answers import generates, is_encoder_decoder, predicts_words
from knowledge_plugin.objectives.base import Objective, no_mention_in
from knowledge_plugin.objectives.collator import TaskCollator
from knowledge_plugin.objectives.describing import Describing, nothing_to_describe
from knowledge_plugin.objectives.descriptions import DescribingCollator, with_something_wanted
from knowledge_plugin.objectives.mentions import MentionCLMCollator, MentionMLMCollator, MentionSeq2SeqCollator
from knowledge_plugin.objectives.scoring import NoLoss, ScoredLoss

# What the published general map-tuning recommends: without it the mapping relies on the text around a mention.
_DROPOUT = 0.25


def _missing_for_mlm(model: nn.Module, tokenizer: PreTrainedTokenizerBase, form: Form) -> str | None:
    if not predicts_words(model) or generates(model):
        return "a masked language model. Type: AutoModelForMaskedLM.from_pretrained(...)"
    if tokenizer.mask_token_id is None:
        return "a tokenizer with a mask token"
    return no_mention_in(form)


def _missing_for_clm(model: nn.Module, tokenizer: PreTrainedTokenizerBase, form: Form) -> str | None:
    if not predicts_words(model) or not generates(model) or is_encoder_decoder(model):
        return "a decoder. Type: AutoModelForCausalLM.from_pretrained(...)"
    return no_mention_in(form)


def _missing_for_seq2seq(model: nn.Module, tokenizer: PreTrainedTokenizerBase, form: Form) -> str | None:
    if not predicts_words(model) or not is_encoder_decoder(model):
        return "an encoder-decoder such as T5. Type: AutoModelForSeq2SeqLM.from_pretrained(...)"
    if tokenizer.convert_tokens_to_ids("<extra_id_0>") in (None, tokenizer.unk_token_id):
        return "a tokenizer with T5's sentinels <extra_id_0>, <extra_id_1>, ..."
    return no_mention_in(form)


OBJECTIVES: dict[str, Objective] = {
    "task": Objective(lambda seed: TaskCollator()),
    "mention-mlm": Objective(MentionMLMCollator, _DROPOUT, ScoredLoss(shift=0), _missing_for_mlm),
    "mention-clm": Objective(MentionCLMCollator, _DROPOUT, ScoredLoss(shift=1), _missing_for_clm),
    "mention-seq2seq": Objective(MentionSeq2SeqCollator, _DROPOUT, ScoredLoss(shift=0), _missing_for_seq2seq),
    "describe": Objective(
        lambda seed: DescribingCollator(),
        _DROPOUT,
        NoLoss(),
        nothing_to_describe,
        side=Describing.of,
        knows=with_something_wanted,
    ),
}
