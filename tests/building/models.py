"""Tiny models with random weights, and a tokenizer of the words that records are made of here."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

WORDS = (
    "it rains snows what happens next then why wet cold the street gets context query inference plausibility".split()
)


def tokenizer(sentinels: bool = True) -> PreTrainedTokenizerFast:
    special = ["<pad>", "</s>", "<unk>", *(f"<extra_id_{i}>" for i in range(5) if sentinels)]
    tokens = [*special, *"0123456789.:", *WORDS]
    raw = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=special[3:],
    )  # fmt: skip


def seq2seq(seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokenizer()), d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2, dropout_rate=0.0,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    return T5ForConditionalGeneration(config).eval()


def causal(seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer()), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()
