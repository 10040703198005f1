"""What a model's own word embeddings say of a text: the mean of its word pieces."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.injection.embeddings import embedding_rows, input_embedding
from knowledge_plugin.injection.tokenizer import base_tokenizer


class WordEncoder:
    """Encodes texts in the model's own space: the mean of the word embeddings of their word pieces.

    It is what Kformer makes keys of (Yao et al., 2022, section 3) and needs no other model. It knows words and not
    their order: "A feeds B" and "B feeds A" are one to it.

    Args:
        model: Whose word embeddings.
        tokenizer: Its tokenizer.

    Example:
        >>> encode = WordEncoder(model, tokenizer)  # doctest: +SKIP
        >>> encode(["Graz", "the river is wide"]).shape  # doctest: +SKIP
        torch.Size([2, 384])
    """

    def __init__(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
        self._embedding, self._tokenizer = input_embedding(model), base_tokenizer(tokenizer)

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Return float32 ``[texts, width]``; zeros for a text without a word piece."""
        return mean_word_vectors(list(texts), self._embedding, self._tokenizer)[0].float()


def mean_word_vectors(
    texts: list[str], embedding: nn.Embedding, tokenizer: PreTrainedTokenizerBase
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean embedding of each text's word pieces, ``[n, width]``, and how many it has, ``[n]``."""
    # A word in front, taken off again by offsets: byte-level tokenizers write a name in a sentence otherwise than one
    # at the beginning of a text.
    before = "a "
    encoded = tokenizer([before + text for text in texts], add_special_tokens=False, return_offsets_mapping=True)
    owners: list[int] = []
    pieces: list[int] = []
    for i, (ids, spans) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)):
        inside = [token for token, (_, end) in zip(ids, spans, strict=True) if end > len(before)]
        owners += [i] * len(inside)
        pieces += inside
    owner = torch.tensor(owners, dtype=torch.long)
    counts = torch.bincount(owner, minlength=len(texts))
    rows, place = torch.unique(torch.tensor(pieces, dtype=torch.long), return_inverse=True)
    words = embedding_rows(embedding, rows).double()[place]
    sums = torch.zeros(len(texts), embedding.weight.shape[1], dtype=torch.float64).index_add_(0, owner, words)
    return sums / counts.clamp(min=1)[:, None], counts
