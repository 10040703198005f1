"""A small BERT that is trained here, from scratch: it fills in masks, and names the country; then it is frozen."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    set_seed,
)

from examples.describing.world import ASKED, SYLLABLES, TOLD, TRADES, World

_IGNORED = -100


def make_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer to which a town is one token and a person's name several."""
    words = {word for sentence in (TOLD, *ASKED) for word in sentence.split() if "{" not in word}
    words |= {word for country, towns in world.countries.items() for word in (country, *towns)} | set(TRADES)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "/", ".", *string.ascii_letters]
    tokens += [f"##{letter}" for letter in string.ascii_lowercase] + sorted(words)
    tokens += [*map(str.capitalize, SYLLABLES), *(f"##{syllable}" for syllable in SYLLABLES)]
    raw = Tokenizer(models.WordPiece({t: i for i, t in enumerate(dict.fromkeys(tokens))}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    special = [(token, raw.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    raw.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=48,
    )  # fmt: skip


def train_checkpoint(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping[str, Any]], *, labels: int, width: int, epochs: int,
    seed: int, rate: float = 2e-3, mask: float = 0.15,
) -> tuple[BertForSequenceClassification, BertForMaskedLM]:  # fmt: skip
    """Train one encoder with two heads on what there is to read, and return it frozen, once with each head."""
    set_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=48, num_labels=labels, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    classifier, language_model = BertForSequenceClassification(config), BertForMaskedLM(config)
    language_model.bert.embeddings, language_model.bert.encoder = classifier.bert.embeddings, classifier.bert.encoder
    language_model.tie_weights()
    parameters = {id(p): p for model in (classifier, language_model) for p in model.parameters()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=rate, weight_decay=0.01)
    steps = epochs * -(-len(rows) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1)
    for model in (classifier, language_model):
        model.train()
    for _ in range(epochs):
        order = torch.randperm(len(rows)).tolist()
        for at in range(0, len(order), 64):
            chosen = [rows[i] for i in order[at : at + 64]]
            batch = dict(tokenizer([row["text"] for row in chosen], padding=True, return_tensors="pt"))
            ids = batch["input_ids"]
            hidden = (torch.rand(ids.shape) < mask) & (ids > tokenizer.mask_token_id)
            states = classifier.bert(**batch | {"input_ids": ids.masked_fill(hidden, tokenizer.mask_token_id)})
            named = classifier.classifier(classifier.dropout(states.pooler_output))
            loss = functional.cross_entropy(named, torch.tensor([row["label"] for row in chosen]))
            loss = loss + functional.cross_entropy(language_model.cls(states.last_hidden_state[hidden]), ids[hidden])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimizer.step()
            schedule.step()
    return classifier.eval().requires_grad_(False), language_model.eval().requires_grad_(False)
