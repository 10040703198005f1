"""Tiny models of many architectures, built from config with random weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
import transformers as t
from transformers import PreTrainedModel

VOCAB = 400
_SMALL = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_ENCODER = _SMALL | {"intermediate_size": 32, "max_position_embeddings": 64}
_DECODER = _SMALL | {"intermediate_size": 32, "max_position_embeddings": 64, "num_key_value_heads": 1}
_DECODER |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
_GPT2 = {"vocab_size": VOCAB, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "pad_token_id": 0}
_T5 = {"vocab_size": VOCAB, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
_T5 |= {"decoder_start_token_id": 0}
_BART = {
    "vocab_size": VOCAB,
    "d_model": 16,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 64,
}
_BART |= {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
_BART |= {"scale_embedding": True, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 3}
_DISTILBERT = {
    "vocab_size": VOCAB,
    "dim": 16,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 32,
    "max_position_embeddings": 64,
}
_DEBERTA = {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}

ARCHITECTURES: dict[str, Callable[[], PreTrainedModel]] = {
    "bert-classification": lambda: t.BertForSequenceClassification(t.BertConfig(**_ENCODER)),
    "bert-masked-lm": lambda: t.BertForMaskedLM(t.BertConfig(**_ENCODER)),
    "bert-token-classification": lambda: t.BertForTokenClassification(t.BertConfig(**_ENCODER)),
    "roberta": lambda: t.RobertaForSequenceClassification(t.RobertaConfig(**_ENCODER, pad_token_id=0)),
    "distilbert": lambda: t.DistilBertForSequenceClassification(t.DistilBertConfig(**_DISTILBERT)),
    "deberta-v2": lambda: t.DebertaV2ForSequenceClassification(t.DebertaV2Config(**_ENCODER | _DEBERTA)),
    "electra": lambda: t.ElectraForSequenceClassification(t.ElectraConfig(**_ENCODER, embedding_size=12)),
    "modernbert": lambda: t.ModernBertForSequenceClassification(
        t.ModernBertConfig(**_ENCODER | {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2})
    ),
    "t5": lambda: t.T5ForConditionalGeneration(t.T5Config(**_T5)),
    "bart-scaled": lambda: t.BartForConditionalGeneration(t.BartConfig(**_BART)),
    "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**_GPT2)),
    "gpt2-classification": lambda: t.GPT2ForSequenceClassification(t.GPT2Config(**_GPT2)),
    "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**_DECODER)),
    "qwen2": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**_DECODER)),
    "gemma3": lambda: t.Gemma3ForCausalLM(t.Gemma3TextConfig(**_DECODER, head_dim=8)),
}
GENERATORS = ("t5", "bart-scaled", "gpt2", "llama", "qwen2", "gemma3")


def build(name: str) -> PreTrainedModel:
    """Return one of them in eval mode, always with the same weights."""
    torch.manual_seed(0)
    return ARCHITECTURES[name]().eval()
