"""Knowing a word-embedding space again.

A mapping leads into one space. A model of another family can have the same width and would take the vectors without
a word, so a few dozen rows of the embedding matrix travel with the plugin and are compared with the live model's.
"""

from __future__ import annotations

import base64
import binascii
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.config import BaseModelConfig, FingerprintConfig
from knowledge_plugin.errors import ConfigError, TokenizerError
from knowledge_plugin.injection.embeddings import embedding_rows, input_embedding

Verdict = Literal["same", "descendant", "different"]

_ROWS = 48
_SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
# bfloat16 rounding leaves the cosine of a row above 0.9999; fine-tuning moves rows by a few percent of their length,
# and two models that were trained apart have nothing in common (cosines near 0).
_SAME, _DESCENDANT = 0.9999, 0.8
# Matrices are padded by a few percent, and a tokenizer may be cut down to one of many languages; of another model the
# tokenizer of 30,000 words stands against 120,000 rows and more.
_FEWEST_WORDS = 0.25


@dataclass(frozen=True)
class Comparison:
    """How a live model's space compares with a recorded one.

    Attributes:
        verdict: ``"same"`` space, a ``"descendant"`` (fine-tuned from it), or a ``"different"`` one.
        similarity: Median cosine of corresponding rows.
        reason: One sentence.
    """

    verdict: Verdict
    similarity: float
    reason: str


def describe_base_model(model: nn.Module, tokenizer: PreTrainedTokenizerBase | None = None) -> BaseModelConfig:
    """Record name, revision, vocabulary size, width and fingerprint of a live model.

    Args:
        model: The model.
        tokenizer: Its tokenizer; if given, the words of the fingerprint's rows are recorded too.
    """
    embedding = input_embedding(model)
    vocab_size, width = embedding.weight.shape
    candidates = torch.linspace(0, vocab_size - 1, min(vocab_size, 4 * _ROWS)).long().unique()
    rows = embedding_rows(embedding, candidates)
    # Padding rows are zero and say nothing; float16 must be able to hold what is kept.
    fit = (rows.norm(dim=1) > 1e-4) & (rows.abs().amax(dim=1) < 6e4)
    chosen = fit.nonzero().flatten()
    chosen = (
        chosen[torch.linspace(0, len(chosen) - 1, min(len(chosen), _ROWS)).long()] if len(chosen) else torch.tensor([0])
    )
    vectors = rows[chosen].to(torch.float16).numpy().astype("<f2").tobytes()
    name = _name_of(model)
    token_ids = candidates[chosen].tolist()
    return BaseModelConfig(
        # A path of this machine is no name for others.
        name=name if name and name.count("/") <= 1 and not Path(name).exists() and name[0] not in "/.~" else None,
        revision=getattr(getattr(model, "config", None), "_commit_hash", None),
        vocab_size=vocab_size,
        embedding_dim=width,
        fingerprint=FingerprintConfig(
            token_ids,
            base64.b64encode(vectors).decode("ascii"),
            None if tokenizer is None else _words(tokenizer, token_ids),
        ),
    )


def _words(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> list[str]:
    # A model may have more rows than its tokenizer has words.
    return [word or "" for word in tokenizer.convert_ids_to_tokens(token_ids)]


def compare(base_model: BaseModelConfig, model: nn.Module) -> Comparison:
    """Compare a live model's word embeddings with recorded ones.

    Returns:
        The verdict with its reason. A vocabulary that was enlarged or cut is judged by the rows that both have.

    Raises:
        ConfigError: The recorded fingerprint is not what its config says.
    """
    embedding = input_embedding(model)
    vocab_size, width = embedding.weight.shape
    if width != base_model.embedding_dim:
        return Comparison("different", 0.0, f"its word embeddings are {width} wide, not {base_model.embedding_dim}")
    ids, expected = decode_fingerprint(base_model)
    known = ids < vocab_size
    if int(known.sum()) < (len(ids) + 1) // 2:
        return Comparison("different", 0.0, f"its vocabulary has {vocab_size} words, not {base_model.vocab_size}")
    live = embedding_rows(embedding, ids[known])
    cosines = torch.cosine_similarity(live, expected[known], dim=1)
    similarity = float(cosines.median())
    if float(cosines.min()) >= _SAME and vocab_size >= base_model.vocab_size:
        return Comparison("same", similarity, "the compared rows are equal")
    if similarity >= _DESCENDANT:
        return Comparison("descendant", similarity, f"the compared rows have a median cosine of {similarity:.3f}")
    return Comparison("different", similarity, f"the compared rows have a median cosine of only {similarity:.3f}")


def decode_fingerprint(base_model: BaseModelConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the recorded token ids ``[n]`` and their rows, float32 ``[n, width]``.

    Raises:
        ConfigError: The fingerprint is not what its config says.
    """
    ids, width = base_model.fingerprint.token_ids, base_model.embedding_dim
    try:
        data = base64.b64decode(base_model.fingerprint.vectors, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"base_model: the fingerprint is no base64: {error}") from error
    if len(data) != 2 * len(ids) * width or not all(0 <= i < base_model.vocab_size for i in ids):
        raise ConfigError(f"base_model: the fingerprint does not hold {len(ids)} rows of {width} numbers.")
    vectors = torch.from_numpy(np.frombuffer(data, "<f2").astype(np.float32).reshape(len(ids), width))
    if not bool(vectors.isfinite().all()):
        raise ConfigError("base_model: the fingerprint holds NaN or infinite values.")
    return torch.tensor(ids), vectors


def check_own_tokenizer(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Look whether a tokenizer can be a model's own, before some of its words are recorded.

    Warns where it probably is not: it has far fewer words than the model has embeddings, or words were added that the
    model has no embedding for, or its special tokens have other ids than the model's config says.

    Raises:
        TokenizerError: Words of its own vocabulary have no embedding. Words that were added may be without: they get
            one by ``resize_token_embeddings``, or are never used.
    """
    own, rows = tokenizer.vocab_size, input_embedding(model).num_embeddings
    if own > rows:
        raise TokenizerError(
            f"the tokenizer is not that of {_called(model)}: it has {own} words, the model has embeddings for {rows}. "
            f"Type: {_of_the_checkpoint(model)}. If it is: KnowledgePlugin.for_model(model, kb), without the tokenizer"
        )
    _warn_of_few_words(model, tokenizer, stacklevel=4)
    _warn_of_other_ids(model, tokenizer, stacklevel=4)


def check_tokenizer(
    base_model: BaseModelConfig, model: nn.Module, tokenizer: PreTrainedTokenizerBase, strict: bool = True
) -> None:
    """Look whether a tokenizer can be the model's own: of another one every word would mean another.

    Warns where it probably is not: it has words that the model has no embedding for, or its special tokens have other
    ids than the model's config says; or, if the plugin recorded no words, far fewer words than embeddings.

    Raises:
        TokenizerError: Most of the words that the plugin recorded have other ids (with ``strict=False`` a warning).
    """
    if base_model.fingerprint.tokens is None:
        _warn_of_few_words(model, tokenizer, stacklevel=4)
    elif (other := _other_words(base_model, tokenizer)) is not None:
        message = (
            f"this tokenizer is not the one that the plugin was made with: {other}. Either this one is not that of the "
            f"checkpoint: {_of_the_checkpoint(model)}. Or the plugin was made with the wrong one, and if trained then "
            "with it too: make it anew, KnowledgePlugin.for_model(model, kb, tokenizer)"
        )
        if strict:
            raise TokenizerError(message + ". If you know better: attach(..., strict=False)")
        warnings.warn(message, stacklevel=3)
    _warn_of_other_ids(model, tokenizer, stacklevel=4)


def _other_words(base_model: BaseModelConfig, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Say how many words of a tokenizer differ from those recorded, ``None`` if it is not most of them."""
    found = _words(tokenizer, base_model.fingerprint.token_ids)
    compared = [(a, b) for a, b in zip(base_model.fingerprint.tokens or (), found, strict=True) if a or b]
    other = [(a, b) for a, b in compared if a != b]
    if 2 * len(other) <= len(compared):
        return None
    there, here = other[0]
    example = f"{there!r} there and {here!r} here"
    return f"of {len(compared)} ids compared, {len(other)} stand for other words, for example {example}"


def _warn_of_few_words(model: nn.Module, tokenizer: PreTrainedTokenizerBase, stacklevel: int) -> None:
    words, rows = len(tokenizer), input_embedding(model).num_embeddings
    if words < _FEWEST_WORDS * rows:
        warnings.warn(
            f"the tokenizer has {words} words, and {_called(model)} has embeddings for {rows}. Is this the tokenizer "
            f"of this checkpoint? Type: {_of_the_checkpoint(model)}",
            stacklevel=stacklevel,
        )


def _warn_of_other_ids(model: nn.Module, tokenizer: PreTrainedTokenizerBase, stacklevel: int) -> None:
    vocab_size = input_embedding(model).num_embeddings
    if len(tokenizer) > vocab_size:
        warnings.warn(
            f"the tokenizer has {len(tokenizer)} words, the model has embeddings for {vocab_size}. If you added words, "
            "call model.resize_token_embeddings(len(tokenizer)) before you attach; else this is not its tokenizer.",
            stacklevel=stacklevel,
        )
    declared = {name: getattr(getattr(model, "config", None), name, None) for name in _SPECIAL_IDS}
    both = [
        (i, j) for name, i in declared.items() if i is not None and (j := getattr(tokenizer, name, None)) is not None
    ]
    if both and all(j not in (i if isinstance(i, list) else [i]) for i, j in both):
        warnings.warn(
            f"the special tokens of the tokenizer have other ids than the config of {_called(model)} "
            f"says ({', '.join(n for n, i in declared.items() if i is not None)}). Is this the tokenizer of this "
            f"checkpoint? Type: {_of_the_checkpoint(model)}",
            stacklevel=stacklevel,
        )


def _of_the_checkpoint(model: nn.Module) -> str:
    name = _name_of(model)
    return f"AutoTokenizer.from_pretrained({name!r})" if name else "AutoTokenizer.from_pretrained(...)"


def _called(model: nn.Module) -> str:
    return _name_of(model) or "the model"


def _name_of(model: nn.Module) -> str:
    return str(getattr(getattr(model, "config", None), "_name_or_path", "") or "")
