"""Finding the description that a sentence needs: by words (BM25), and by meaning (sentence vectors)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from transformers import AutoModel, AutoTokenizer

from examples.geography.checkpoint import model_folder


class BM25:
    """Okapi BM25 (Robertson & Zaragoza 2009, equation 3.15) over documents of a line.

    Args:
        documents: What to find.
        k1: How soon more of a word says no more.
        b: How much a long document is held against itself.
    """

    def __init__(self, documents: Sequence[str], k1: float = 1.5, b: float = 0.75) -> None:
        self.vectorizer = CountVectorizer(token_pattern=r"(?u)\b\w+\b")
        counts = self.vectorizer.fit_transform(documents).tocsr().astype(np.float32)
        length = np.asarray(counts.sum(1)).ravel()
        found_in = np.asarray((counts > 0).sum(0)).ravel()
        idf = np.log1p((len(documents) - found_in + 0.5) / (found_in + 0.5))
        norm = k1 * (1 - b + b * length / length.mean())
        rows = np.repeat(np.arange(len(documents)), np.diff(counts.indptr))
        counts.data = idf[counts.indices] * counts.data * (k1 + 1) / (counts.data + norm[rows])
        self.weights: sparse.csc_matrix = counts.T.tocsr()

    @property
    def nbytes(self) -> int:
        """Size of the index in bytes."""
        parts = (self.weights.data, self.weights.indices, self.weights.indptr)
        return sum(part.nbytes for part in parts) + sum(map(len, self.vectorizer.vocabulary_))

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Return the best document for each text."""
        asked = self.vectorizer.transform(texts).astype(bool).astype(np.float32)
        return [int(i) for i in np.asarray((asked @ self.weights).todense()).argmax(1)]


class Dense:
    """Inner products of sentence vectors of all-MiniLM-L6-v2: means of its last states, of length 1.

    Args:
        documents: What to find.
    """

    def __init__(self, documents: Sequence[str]) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(model_folder())
        self.model = AutoModel.from_pretrained(model_folder()).eval()
        self.vectors = self.encode(documents)

    @property
    def nbytes(self) -> int:
        """Size of the vectors and of the encoder in bytes."""
        return self.vectors.nbytes + sum(p.nbytes for p in self.model.parameters())

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Return float32 ``[texts, 384]``."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = torch.empty(len(texts), self.model.config.hidden_size)
        for first in range(0, len(order), 128):
            chosen = order[first : first + 128]
            batch = self.tokenizer(
                [texts[i] for i in chosen], padding=True, truncation=True, max_length=64, return_tensors="pt"
            )
            states, mask = self.model(**batch).last_hidden_state, batch["attention_mask"][..., None]
            vectors[chosen] = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
        return vectors

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Return the best document for each text."""
        return (self.encode(texts) @ self.vectors.T).argmax(1).tolist()
