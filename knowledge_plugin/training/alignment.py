"""The mapping in closed form: from entity vectors to the word embeddings of the entities' own names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.errors import MappingError, TrainingError
from knowledge_plugin.injection.embeddings import embedding_rows, input_embedding
from knowledge_plugin.injection.tokenizer import base_tokenizer
from knowledge_plugin.plugin import KnowledgePlugin

_BATCH = 8_192


@dataclass(frozen=True)
class AlignmentReport:
    """How well vectors explain the word embeddings of names.

    Attributes:
        entities: How many entities had a name to fit to.
        r2: Share of the variance of the names' embeddings that the fit explains, on the entities it was fitted to.
        ridge: The ridge strength.
    """

    entities: int
    r2: float
    ridge: float


def align(
    plugin: KnowledgePlugin, model: nn.Module, tokenizer: PreTrainedTokenizerBase, *, ridge: float = 10.0
) -> AlignmentReport:
    """Fit an affine mapping without labels and without training, in seconds.

    The target of an entity is the mean of the word-embedding rows of its label's word pieces, as they would stand
    within a sentence; ridge regression leads from vectors to targets. This is E-BERT's idea (Poerner et al., 2020,
    section 3) with names in place of a shared vocabulary. The fitted rows are then stretched around their mean until
    they are spread as widely as the names' embeddings. All entities of the knowledge base take part.

    Args:
        plugin: Its mapping must be ``"affine"``; it is overwritten.
        model: The frozen model; not changed, not even run.
        tokenizer: The model's own tokenizer.
        ridge: Strength of the ridge, added to the diagonal of the sums of products of the centred vectors.

    Returns:
        What was fitted, and how well.

    Raises:
        IncompatibleModelError: The model's word embeddings are another space than the plugin was made for.
        MappingError: The mapping is an MLP, for which there is no closed form.
        TrainingError: No entity has a label, or the ridge is negative.

    Example:
        >>> align(plugin, model, tokenizer).r2  # doctest: +SKIP
        0.31
    """
    if plugin.config.mapping.kind != "affine":
        raise MappingError(
            f"align fits an affine mapping in closed form; this one is {plugin.config.mapping.kind!r}. Type: "
            "KnowledgePlugin.for_model(model, kb, mapping='affine'), or train this one with MapTuningTrainer."
        )
    if not 0 <= ridge < math.inf:
        raise TrainingError(f"ridge: expected a number from 0 up, found {ridge}.")
    tokenizer = base_tokenizer(tokenizer)
    plugin.check_space(model)
    sums = _Sums(plugin.config.mapping.input_dim, plugin.config.mapping.output_dim)
    embedding = input_embedding(model)
    for rows, labels in _batches(plugin):
        targets, named = _name_embeddings(labels, embedding, tokenizer)
        sums.add(plugin.knowledge_base.vectors(torch.tensor(rows))[named], targets[named])
    if sums.n == 0:
        raise TrainingError("no entity of the knowledge base has a label that the tokenizer knows: nothing to fit to.")
    weight, bias, r2 = sums.solve(ridge)
    with torch.no_grad():
        for parameter, value in zip(plugin.mapping.parameters(), (weight.T, bias), strict=True):
            parameter.copy_(value)
    return AlignmentReport(sums.n, r2, ridge)


def _batches(plugin: KnowledgePlugin) -> Iterator[tuple[list[int], list[str]]]:
    labels = iter(plugin.knowledge_base.labels())
    start = 0
    while batch := list(islice(labels, _BATCH)):
        yield list(range(start, start + len(batch))), batch
        start += len(batch)


def _name_embeddings(
    labels: list[str], embedding: nn.Embedding, tokenizer: PreTrainedTokenizerBase
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean embedding of each label's word pieces, ``[n, width]``, and which labels have any, ``[n]``."""
    # A word in front, taken off again by offsets: byte-level tokenizers write a name in a sentence otherwise than one
    # at the beginning of a text.
    before = "a "
    encoded = tokenizer([before + label for label in labels], add_special_tokens=False, return_offsets_mapping=True)
    owners: list[int] = []
    pieces: list[int] = []
    for i, (ids, spans) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)):
        inside = [token for token, (_, end) in zip(ids, spans, strict=True) if end > len(before)]
        owners += [i] * len(inside)
        pieces += inside
    owner = torch.tensor(owners, dtype=torch.long)
    counts = torch.bincount(owner, minlength=len(labels))
    rows, place = torch.unique(torch.tensor(pieces, dtype=torch.long), return_inverse=True)
    words = embedding_rows(embedding, rows).double()[place]
    sums = torch.zeros(len(labels), embedding.weight.shape[1], dtype=torch.float64).index_add_(0, owner, words)
    return sums / counts.clamp(min=1)[:, None], counts > 0


class _Sums:
    """Sums of products, batch by batch, so that a knowledge base of millions needs no more memory than a small one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.n = 0
        self.x = torch.zeros(inputs, dtype=torch.float64)
        self.y = torch.zeros(outputs, dtype=torch.float64)
        self.xx = torch.zeros(inputs, inputs, dtype=torch.float64)
        self.xy = torch.zeros(inputs, outputs, dtype=torch.float64)
        self.yy = torch.zeros((), dtype=torch.float64)

    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        x, y = x.double(), y.double()
        self.n += len(x)
        self.x += x.sum(0)
        self.y += y.sum(0)
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.yy += y.square().sum()

    def solve(self, ridge: float) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Return weight ``[inputs, outputs]``, bias ``[outputs]``, and R² of the fit before it is stretched."""
        mean_x, mean_y = self.x / self.n, self.y / self.n
        xx = self.xx - self.n * torch.outer(mean_x, mean_x)
        xy = self.xy - self.n * torch.outer(mean_x, mean_y)
        yy = float(self.yy - self.n * mean_y.square().sum())
        # With no ridge and fewer entities than dimensions there are many solutions; lstsq takes the smallest.
        weight = torch.linalg.lstsq(xx + ridge * torch.eye(len(xx), dtype=xx.dtype), xy, driver="gelsd").solution
        fitted = float((weight * (xx @ weight)).sum())
        r2 = 1 - (yy - 2 * float((weight * xy).sum()) + fitted) / yy if yy > 0 else 0.0
        # A fit that explains little keeps close to the mean. Stretched until the rows lie as far from it as the names
        # do, the entities are told apart: in the geography example that is worth 6.5 and 9.1 points.
        weight = weight * math.sqrt(yy / fitted) if fitted > 0 else weight
        return weight, mean_y - mean_x @ weight, r2
