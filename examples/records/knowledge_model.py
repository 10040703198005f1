"""A small T5 that learns from records by field masking: trained from scratch, here."""

from __future__ import annotations

import string
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

from examples.methods.world import SYLLABLES, VALUES
from examples.records.world import MONTHS, QUERIES, TEMPERS
from knowledge_plugin.building import Record, training_examples

_IGNORED = -100


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer with T5's sentinels, to which words are one token and names several."""
    words = {word for query in QUERIES.values() for word in query.split()} | {"is", "a", "child"}
    words |= {"context", "query", "inference", "plausibility", *TEMPERS, *MONTHS}
    words |= {word for values in VALUES.values() for word in values}
    tokens = ["<pad>", "</s>", "<unk>", *(f"<extra_id_{i}>" for i in range(5)), *".:", *string.digits]
    tokens += [*string.ascii_letters, *(f"##{letter}" for letter in string.ascii_lowercase), *sorted(words)]
    tokens += [*map(str.capitalize, SYLLABLES), *(f"##{syllable}" for syllable in SYLLABLES)]
    raw = Tokenizer(models.WordPiece({t: i for i, t in enumerate(dict.fromkeys(tokens))}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=128,
        additional_special_tokens=[f"<extra_id_{i}>" for i in range(5)],
    )  # fmt: skip


def train_knowledge_model(
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[Record],
    *,
    steps: int,
    seed: int,
    ask: Sequence[str] | None = None,
    width: int = 64,
    batch_size: int = 48,
    rate: float = 2e-3,
) -> T5ForConditionalGeneration:
    """Train a T5 on records, and return it frozen.

    Args:
        tokenizer: Of :func:`make_tokenizer`.
        records: What it learns.
        steps: Of training.
        seed: Of the weights, of the order and of what is masked.
        ask: Mask these fields always: a fixed direction, to compare with; ``None`` masks any.
        width: Of the model.
        batch_size: Records in a step.
        rate: The highest learning rate.
    """
    set_seed(seed)
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer), d_model=width, d_kv=width // 4, d_ff=2 * width, num_layers=2, num_heads=4,
            dropout_rate=0.0, feed_forward_proj="gated-gelu", pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id, decoder_start_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1, pct_start=0.1)
    model.train()
    waiting: list[dict[str, str]] = []
    epoch = 0
    for _ in range(steps):
        if len(waiting) < batch_size:
            rows = list(training_examples(records, seed=1_000 * seed + epoch, ask=ask))
            waiting += [rows[i] for i in torch.randperm(len(rows)).tolist()]
            epoch += 1
        batch, waiting = waiting[:batch_size], waiting[batch_size:]
        given = tokenizer([row["input"] for row in batch], padding=True, return_tensors="pt")
        ended = [f"{row['target']}</s>" for row in batch]
        wanted = tokenizer(ended, padding=True, return_tensors="pt")
        labels = wanted["input_ids"].masked_fill(wanted["attention_mask"] == 0, _IGNORED)
        loss = model(input_ids=given["input_ids"], attention_mask=given["attention_mask"], labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)
