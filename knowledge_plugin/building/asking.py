"""Asking a language model for masked fields: what it writes there, and how likely it finds what stands there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from knowledge_plugin.building.field_masking import SENTINEL, MaskedText, Template
from knowledge_plugin.building.records import FIELDS
from knowledge_plugin.errors import RecordError
from knowledge_plugin.modes import undisturbed

_IGNORED = -100


def answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[str],
    template: Template,
    options: Mapping[str, Any],
) -> list[str]:
    """Return what a model writes for each input, as one batch.

    Args:
        model: Seq2seq or causal, as the template is.
        tokenizer: Its tokenizer.
        inputs: Of :meth:`Template.masked`, with one field asked for.
        template: Says where an answer ends.
        options: Of ``model.generate``; with ``num_return_sequences=k`` there are k answers for each input.

    Raises:
        RecordError: The model does not take these options, or an input is longer than it reads.
    """
    # What is continued ends where its continuation begins; what an encoder reads begins at its first position.
    left = template.kind == "causal"
    rows = [_input_ids(tokenizer, text, template) for text in inputs]
    _check_length(model, rows, (options.get("max_new_tokens") or 0) if left else 0)
    batch = _padded(rows, _pad_id(tokenizer), left=left)
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    with undisturbed(model):
        try:
            written = model.generate(**batch, pad_token_id=_pad_id(tokenizer), **options)  # type: ignore[operator]
        except ValueError as error:  # what transformers says of options
            raise RecordError(f"generation: {type(model).__name__} cannot generate with {options}: {error}") from error
    if template.kind == "causal":
        written = written[:, batch["input_ids"].shape[1] :]
        rows = written.tolist()
    else:
        rows = [_between(row, tokenizer) for row in written.tolist()]
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return [template.answer(text).replace("\0", "") for text in texts]


def _between(row: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return what stands between the first sentinel, if it was written, and the next, or the end."""
    sentinels = set(_sentinels(tokenizer).tolist())
    places = [i for i, token in enumerate(row) if token in sentinels] or [-1]
    rest = row[places[0] + 1 :]
    return rest[: places[1] - places[0] - 1] if len(places) > 1 else rest


def likelihoods(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[MaskedText],
    template: Template,
) -> list[tuple[float, int]]:
    """Return for each target the log-probability of its tokens and how many they are; sentinels do not count.

    Raises:
        RecordError: The model gives no numbers (where half a precision overflows, everything becomes NaN), or a text is
            longer than it reads.
    """
    if template.kind == "causal":
        continued = [_continued(tokenizer, text) for text in texts]
        sources = [source for source, _ in continued]
        pairs = [[*source, *target] for source, target in continued]
        _check_length(model, pairs)
        batch = _padded(pairs, _pad_id(tokenizer), left=False)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, _IGNORED)
        for row, source in enumerate(sources):
            labels[row, : len(source)] = _IGNORED
        wanted = labels[:, 1:]
        with undisturbed(model):
            logits = model(**{n: t.to(model.device) for n, t in batch.items()}).logits[:, :-1]
    else:
        targets = [tokenizer(text.target, add_special_tokens=False)["input_ids"] for text in texts]
        sources = [_input_ids(tokenizer, text.input, template) for text in texts]
        _check_length(model, [*sources, *targets])
        batch = _padded(sources, _pad_id(tokenizer), left=False)
        wanted = _padded(targets, _IGNORED, left=False)["input_ids"]
        with undisturbed(model):
            # Labels of padding are ignored; the decoder's own inputs are made of them by the model.
            logits = model(**{n: t.to(model.device) for n, t in batch.items()}, labels=wanted.to(model.device)).logits
    wanted = wanted.to(logits.device)
    wanted = wanted.masked_fill(torch.isin(wanted, _sentinels(tokenizer).to(logits.device)), _IGNORED)
    losses = functional.cross_entropy(
        logits.float().transpose(1, 2), wanted, ignore_index=_IGNORED, reduction="none"
    ).double()
    totals = -losses.sum(1)
    for text, is_number in zip(texts, totals.isfinite().tolist(), strict=True):
        if not is_number:
            raise RecordError(
                f"{type(model).__name__}: expected a probability of {text.target!r:.60} after {text.input!r:.120}, "
                f"found no number, in {logits.dtype}. Type: model.float(), or load it with dtype=torch.bfloat16"
            )
    return list(zip(totals.tolist(), (wanted != _IGNORED).sum(1).tolist(), strict=True))


def _input_ids(tokenizer: PreTrainedTokenizerBase, text: str, template: Template) -> list[int]:
    ids = list(tokenizer(text)["input_ids"])
    return _not_ended(tokenizer, ids) if template.kind == "causal" else ids


def _not_ended(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    """Return tokens without those for the end: what is continued must not have ended."""
    while len(ids) > 1 and ids[-1] in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        ids = ids[:-1]
    return ids


def _continued(tokenizer: PreTrainedTokenizerBase, text: MaskedText) -> tuple[list[int], list[int]]:
    """Return the tokens of an input, and those of its target as they stand behind it.

    Alone, a target may be other tokens: tokenizers like Llama's put a blank of their own before what they are given.
    """
    if not tokenizer.is_fast:  # its tokens do not know where they stand
        source = _not_ended(tokenizer, list(tokenizer(text.input)["input_ids"]))
        return source, tokenizer(text.target, add_special_tokens=False)["input_ids"]
    encoded = tokenizer(text.input + text.target, return_offsets_mapping=True)
    ids = _not_ended(tokenizer, list(encoded["input_ids"]))
    ends = [end for _, end in encoded["offset_mapping"][: len(ids)]]
    start = next((i for i, end in enumerate(ends) if end > len(text.input)), len(ids))
    return ids[:start], ids[start:]


def _check_length(model: PreTrainedModel, rows: Sequence[Sequence[int]], more: int = 0) -> None:
    """Raise :class:`RecordError` where a model has no place for a token; on a GPU that would end the process."""
    most = getattr(model.config, "max_position_embeddings", None)
    if isinstance(most, int) and 0 < most < (longest := max(map(len, rows)) + more):
        rest = f" with the {more} of max_new_tokens" if more else ""
        raise RecordError(
            f"{type(model).__name__}: expected texts of at most {most} tokens, found a record of {longest}{rest}. "
            "Leave it out, or make its texts shorter."
        )


def _padded(rows: Sequence[Sequence[int]], pad: int, left: bool) -> dict[str, torch.Tensor]:
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(longest - len(row), longest) if left else slice(len(row))
        ids[i, place] = torch.tensor(row, dtype=torch.long)
        mask[i, place] = 1
    return {"input_ids": ids, "attention_mask": mask}


def _pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    found = [tokenizer.pad_token_id, tokenizer.eos_token_id, 0]
    return next(each for each in found if each is not None)


def _sentinels(tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    found = [tokenizer.convert_tokens_to_ids(SENTINEL.format(i)) for i in range(len(FIELDS) + 1)]
    known = [token for token in found if token is not None and token != tokenizer.unk_token_id]
    return torch.tensor(known, dtype=torch.long)
