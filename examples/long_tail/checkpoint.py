"""A small classifier that is trained here, from scratch: it learns of whom it reads often, and of towns."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    set_seed,
)

from examples.long_tail.world import ONE, SYLLABLES, TWO, World


def make_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer to which a town is one token and a person's name several."""
    words = {word for template in ONE + TWO for word in template.split() if "{" not in word} | set(world.towns.values())
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "/", *string.ascii_letters]
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
    seed: int,
) -> BertForSequenceClassification:  # fmt: skip
    """Train a classifier on what there is to read, and return it frozen."""
    set_seed(seed)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=48, num_labels=labels, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    steps = epochs * -(-len(rows) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps + 1)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(rows)).tolist()
        for at in range(0, len(order), 64):
            chosen = [rows[i] for i in order[at : at + 64]]
            batch = tokenizer([row["text"] for row in chosen], padding=True, return_tensors="pt")
            loss = functional.cross_entropy(model(**batch).logits, torch.tensor([row["label"] for row in chosen]))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval().requires_grad_(False)
