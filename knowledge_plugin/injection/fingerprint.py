"""Knowing a word-embedding space again.

A mapping leads into one space. A model of another family can have the same width and would take the vectors without
a word, so a few dozen rows of the embedding matrix travel with the plugin and are compared with the live model's.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from knowledge_plugin.config import BaseModelConfig, FingerprintConfig
from knowledge_plugin.errors import ConfigError
from knowledge_plugin.injection.embeddings import embedding_rows, input_embedding

Verdict = Literal["same", "descendant", "different"]

_ROWS = 48
# bfloat16 rounding leaves the cosine of a row above 0.9999; fine-tuning moves rows by a few percent of their length,
# and two models that were trained apart have nothing in common (cosines near 0).
_SAME, _DESCENDANT = 0.9999, 0.8


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


def describe_base_model(model: nn.Module) -> BaseModelConfig:
    """Record name, revision, vocabulary size, width and fingerprint of a live model."""
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
    name = str(getattr(getattr(model, "config", None), "_name_or_path", "") or "")
    return BaseModelConfig(
        # A path of this machine is no name for others.
        name=name if name.count("/") <= 1 and not name.startswith(("/", ".", "~")) and name else None,
        revision=getattr(getattr(model, "config", None), "_commit_hash", None),
        vocab_size=vocab_size,
        embedding_dim=width,
        fingerprint=FingerprintConfig(candidates[chosen].tolist(), base64.b64encode(vectors).decode("ascii")),
    )


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
    ids, expected = _decode(base_model)
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


def _decode(base_model: BaseModelConfig) -> tuple[torch.Tensor, torch.Tensor]:
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
