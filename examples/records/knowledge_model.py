"""A small decoder that learns from records by field masking: trained from scratch, here."""

from __future__ import annotations

import string
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast, set_seed

from examples.methods.world import SYLLABLES, VALUES
from examples.records.world import MONTHS, QUERIES, TEMPERS
from knowledge_plugin.building import Record, Template, training_examples
from knowledge_plugin.building.records import FIELDS

_IGNORED = -100


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer to which words are one token and names several."""
    words = {word for query in QUERIES.values() for word in query.split()} | {"is", "a", "child", *FIELDS}
    words |= {word for values in (*VALUES.values(), TEMPERS, MONTHS) for word in values}
    tokens = ["<pad>", "</s>", "<unk>", *".:", *string.digits]
    tokens += [*string.ascii_letters, *(f"##{letter}" for letter in string.ascii_lowercase), *sorted(words)]
    tokens += [*map(str.capitalize, SYLLABLES), *(f"##{syllable}" for syllable in SYLLABLES)]
    raw = Tokenizer(models.WordPiece({t: i for i, t in enumerate(dict.fromkeys(tokens))}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=128
    )


def train_knowledge_model(
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[Record],
    *,
    steps: int,
    seed: int,
    ask: Sequence[str] | None = None,
    width: int = 64,
    batch_size: int = 96,
    rate: float = 4e-3,
) -> LlamaForCausalLM:
    """Train a decoder on records, and return it frozen.

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
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3,
            num_attention_heads=4, max_position_embeddings=128, initializer_range=0.04, tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1, pct_start=0.1)
    model.train()
    waiting: list[dict[str, str]] = []
    epoch = 0
    for _ in range(steps):
        while len(waiting) < batch_size:
            rows = list(training_examples(records, seed=1_000 * seed + epoch, template=Template("causal"), ask=ask))
            waiting += [rows[i] for i in torch.randperm(len(rows)).tolist()]
            epoch += 1
        batch, waiting = waiting[:batch_size], waiting[batch_size:]
        ids, labels = _batch(tokenizer, batch)
        logits = model(input_ids=ids).logits[:, :-1]
        losses = functional.cross_entropy(
            logits.transpose(1, 2), labels[:, 1:], ignore_index=_IGNORED, reduction="none"
        )
        # Each record counts the same, whether a long context is masked or a short inference.
        loss = (losses.sum(1) / (labels[:, 1:] != _IGNORED).sum(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)


def _batch(tokenizer: PreTrainedTokenizerBase, rows: Sequence[dict[str, str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and labels, which are of the targets alone. A decoder needs no mask for padding behind."""
    inputs = tokenizer([row["input"] for row in rows])["input_ids"]
    targets = tokenizer([row["target"] + tokenizer.eos_token for row in rows])["input_ids"]
    longest = max(len(a) + len(b) for a, b in zip(inputs, targets, strict=True))
    ids = torch.full((len(rows), longest), tokenizer.pad_token_id)
    labels = torch.full_like(ids, _IGNORED)
    for i, (given, wanted) in enumerate(zip(inputs, targets, strict=True)):
        end = len(given) + len(wanted)
        ids[i, :end] = torch.tensor([*given, *wanted])
        labels[i, len(given) : end] = torch.tensor(wanted)
    return ids, labels
