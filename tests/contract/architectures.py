"""Tiny models of many architectures, built from config with random weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
import transformers as t
from transformers import PreTrainedModel

VOCAB = 400
# The ids of the tiny WordPiece tokenizer.
_IDS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
_SMALL = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
ENCODER = _SMALL | {"intermediate_size": 32, "max_position_embeddings": 64, "pad_token_id": 0}
DECODER = _SMALL | _IDS | {"intermediate_size": 32, "max_position_embeddings": 64, "num_key_value_heads": 1}
_GEMMA = DECODER | {"head_dim": 8}
_GPT2 = _IDS | {"vocab_size": VOCAB, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
_T5 = {"vocab_size": VOCAB, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
_T5 |= {"decoder_start_token_id": 0}
_BART = _IDS | {
    "vocab_size": VOCAB,
    "d_model": 16,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "max_position_embeddings": 64,
    "decoder_start_token_id": 3,
    "scale_embedding": True,
}
_DISTILBERT = {
    "vocab_size": VOCAB,
    "dim": 16,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 32,
    "max_position_embeddings": 64,
}
_DEBERTA = {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
_MODERNBERT = ENCODER | _IDS | {"cls_token_id": 2}
_T5GEMMA = {k: v for k, v in _GEMMA.items() if k != "vocab_size"} | {"vocab_size": VOCAB}
_GEMMA_3N = _GEMMA | {
    "num_hidden_layers": 4,
    "intermediate_size": [32] * 4,
    "vocab_size_per_layer_input": VOCAB,
    "hidden_size_per_layer_input": 8,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 0,
    "laurel_rank": 4,
    "altup_num_inputs": 2,
    "activation_sparsity_pattern": [0.0] * 4,
}
_GEMMA_4 = _GEMMA | {
    "vocab_size_per_layer_input": VOCAB,
    "hidden_size_per_layer_input": 8,
    "layer_types": ["sliding_attention", "full_attention"],
    "num_kv_shared_layers": 0,
    "global_head_dim": 8,
}
_MINICPM3 = DECODER | {
    "num_key_value_heads": 2,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "scale_emb": 12,
}

READERS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert-classification": lambda: t.BertForSequenceClassification(t.BertConfig(**ENCODER)),
    "bert-masked-lm": lambda: t.BertForMaskedLM(t.BertConfig(**ENCODER)),
    "bert-token-classification": lambda: t.BertForTokenClassification(t.BertConfig(**ENCODER)),
    "roberta": lambda: t.RobertaForSequenceClassification(t.RobertaConfig(**ENCODER)),
    "xlm-roberta": lambda: t.XLMRobertaForSequenceClassification(t.XLMRobertaConfig(**ENCODER)),
    "distilbert": lambda: t.DistilBertForSequenceClassification(t.DistilBertConfig(**_DISTILBERT)),
    "electra": lambda: t.ElectraForSequenceClassification(t.ElectraConfig(**ENCODER, embedding_size=12)),
    "albert": lambda: t.AlbertForSequenceClassification(t.AlbertConfig(**ENCODER, embedding_size=12)),
    "mpnet": lambda: t.MPNetForSequenceClassification(t.MPNetConfig(**ENCODER)),
    "longformer": lambda: t.LongformerForSequenceClassification(
        t.LongformerConfig(**ENCODER | {"attention_window": 8, "max_position_embeddings": 80})
    ),
    "deberta-v2": lambda: t.DebertaV2ForSequenceClassification(t.DebertaV2Config(**ENCODER | _DEBERTA)),
    "deberta-v2-factorized": lambda: t.DebertaV2ForSequenceClassification(
        t.DebertaV2Config(**ENCODER | _DEBERTA, embedding_size=12)
    ),
    "modernbert": lambda: t.ModernBertForSequenceClassification(t.ModernBertConfig(**_MODERNBERT)),
    "modernbert-masked-lm": lambda: t.ModernBertForMaskedLM(t.ModernBertConfig(**_MODERNBERT)),
    "big-bird-rescaled": lambda: t.BigBirdForSequenceClassification(
        t.BigBirdConfig(**ENCODER, attention_type="original_full", rescale_embeddings=True)
    ),
    "gpt2-classification": lambda: t.GPT2ForSequenceClassification(t.GPT2Config(**_GPT2)),
    "llama-classification": lambda: t.LlamaForSequenceClassification(t.LlamaConfig(**DECODER)),
}
GENERATORS: dict[str, Callable[[], PreTrainedModel]] = {
    "t5": lambda: t.T5ForConditionalGeneration(t.T5Config(**_T5)),
    "t5-untied": lambda: t.T5ForConditionalGeneration(t.T5Config(**_T5, tie_word_embeddings=False)),
    "bart-scaled": lambda: t.BartForConditionalGeneration(t.BartConfig(**_BART)),
    "marian-scaled": lambda: t.MarianMTModel(t.MarianConfig(**_BART)),
    "m2m-100": lambda: t.M2M100ForConditionalGeneration(t.M2M100Config(**_BART)),
    "pegasus": lambda: t.PegasusForConditionalGeneration(t.PegasusConfig(**_BART)),
    "t5gemma": lambda: t.T5GemmaForConditionalGeneration(
        t.T5GemmaConfig(
            encoder=t.T5GemmaModuleConfig(**_T5GEMMA),
            decoder=t.T5GemmaModuleConfig(**_T5GEMMA),
            vocab_size=VOCAB,
            **_IDS,
        )
    ),
    "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**_GPT2)),
    "gpt-neox": lambda: t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**ENCODER, bos_token_id=2, eos_token_id=3)),
    "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**DECODER)),
    "mistral": lambda: t.MistralForCausalLM(t.MistralConfig(**DECODER)),
    "mixtral": lambda: t.MixtralForCausalLM(t.MixtralConfig(**DECODER, num_local_experts=2)),
    "qwen2": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**DECODER)),
    "qwen3": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**DECODER, head_dim=8)),
    "phi3": lambda: t.Phi3ForCausalLM(t.Phi3Config(**DECODER)),
    "opt-projected": lambda: t.OPTForCausalLM(
        t.OPTConfig(**_SMALL | _IDS, ffn_dim=32, max_position_embeddings=64, word_embed_proj_dim=12)
    ),
    "mamba": lambda: t.MambaForCausalLM(
        t.MambaConfig(vocab_size=VOCAB, hidden_size=16, num_hidden_layers=2, state_size=4, **_IDS)
    ),
    "biogpt": lambda: t.BioGptForCausalLM(t.BioGptConfig(**ENCODER, bos_token_id=2, eos_token_id=3)),
    "granite": lambda: t.GraniteForCausalLM(t.GraniteConfig(**DECODER, embedding_multiplier=12.0)),
    "gemma": lambda: t.GemmaForCausalLM(t.GemmaConfig(**_GEMMA)),
    "gemma2": lambda: t.Gemma2ForCausalLM(t.Gemma2Config(**_GEMMA)),
    "gemma3": lambda: t.Gemma3ForCausalLM(t.Gemma3TextConfig(**_GEMMA)),
    "gemma3n": lambda: t.Gemma3nForCausalLM(t.Gemma3nTextConfig(**_GEMMA_3N)),
    "gemma4": lambda: t.Gemma4ForCausalLM(t.Gemma4TextConfig(**_GEMMA_4)),
    "minicpm3": lambda: t.MiniCPM3ForCausalLM(t.MiniCPM3Config(**_MINICPM3)),
}
ARCHITECTURES = READERS | GENERATORS


def build(name: str) -> PreTrainedModel:
    """Return one of them in eval mode, always with the same weights."""
    torch.manual_seed(0)
    return ARCHITECTURES[name]().eval()
