"""The mapping in closed form: from entity vectors to the word embeddings of what is said about the entities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.arguments import check_plugin
from knowledge_plugin.config import TrainingConfig
from knowledge_plugin.errors import MappingError, TrainingError
from knowledge_plugin.injection.embeddings import input_embedding
from knowledge_plugin.injection.tokenizer import base_tokenizer
from knowledge_plugin.injection.word_vectors import mean_word_vectors
from knowledge_plugin.plugin import KnowledgePlugin
from knowledge_plugin.training.record import versions

Targets = Literal["names", "descriptions", "words"]

_BATCH = 8_192
# Every tenth is held out to choose the ridge by, if that leaves enough to tell one strength from another.
_HELD_OUT, _FEWEST = 10, 30
# What vectors that say nothing reach by chance, over how many are held out. With names of cities and the vectors of
# others it was up to 0.12 (30 to 3,000 of them, 12 to 60 draws each); their own reach 0.05 on 3,746, which brings 18
# points of accuracy, so that what is small but no chance is not talked down.
_CHANCE, _LEAST = 0.3, 0.01
# Tried in parts of the mean variance of the vectors' dimensions, summed over entities; without a choice, the middle.
_STRENGTHS = tuple(10.0**exponent for exponent in range(-5, 3))


@dataclass(frozen=True)
class AlignmentReport:
    """How well vectors explain the word embeddings of what is said about their entities.

    As a text it says so in words, with what to try where it is next to nothing.

    Attributes:
        targets: What the vectors were fitted to.
        entities: How many entities (or words) had something to fit to.
        r2: Share of the variance of the targets that the fit explains, on all that it was fitted to.
        held_out_r2: The same on every tenth of them, by a fit to the others; ``None`` if they were too few. Near 0 or
            below, the vectors say nothing about the targets, and the mapping is worth nothing.
        ridge: The ridge strength.

    Example:
        >>> print(AlignmentReport("names", 60, r2=0.9, held_out_r2=-0.1, ridge=0.5))
        fitted to names of 60: r2 0.900, held_out_r2 -0.100, ridge 0.5
        Of the 6 that were held out the fit explains next to nothing: the vectors probably say nothing about their \
names, whatever r2 is. Type: align(..., targets='descriptions'), or train with MapTuningTrainer. What it is worth, \
evaluate(...) says.
    """

    targets: Targets
    entities: int
    r2: float
    held_out_r2: float | None
    ridge: float

    @property
    def verdict(self) -> str | None:
        """In words, why the mapping is probably worth nothing, or that this is not known; else ``None``."""
        if self.held_out_r2 is None:
            return f"Nothing was held out of so few (under {_FEWEST}): r2 does not say what the mapping is worth."
        held_out = -(-self.entities // _HELD_OUT)
        if self.held_out_r2 >= max(_LEAST, _CHANCE / held_out):
            return None
        return (
            f"Of the {held_out} that were held out the fit explains next to nothing: the vectors probably say nothing "
            f"about their {self.targets}, whatever r2 is."
        )

    @property
    def other_targets(self) -> Targets | None:
        """What else to fit to, where the vectors say nothing about these."""
        if self.held_out_r2 is None or self.verdict is None:
            return None
        return "names" if self.targets == "descriptions" else "descriptions"

    def __str__(self) -> str:
        held_out = "" if self.held_out_r2 is None else f" held_out_r2 {self.held_out_r2:.3f},"
        values = f"fitted to {self.targets} of {self.entities}: r2 {self.r2:.3f},{held_out} ridge {self.ridge:.3g}"
        if self.verdict is None:
            return values
        other = self.other_targets
        advice = f" Type: align(..., targets={other!r}), or train with MapTuningTrainer." if other else ""
        return f"{values}\n{self.verdict}{advice} What it is worth, evaluate(...) says."


def align(
    plugin: KnowledgePlugin,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    *,
    targets: Targets = "names",
    words: Mapping[str, Sequence[float]] | None = None,
    ridge: float | None = None,
) -> AlignmentReport:
    """Fit an affine mapping without labels and without training, in seconds.

    Ridge regression leads from vectors to word embeddings of the model. With ``"names"`` the target of an entity is
    the mean of the word-embedding rows of its label's word pieces, as they would stand within a sentence; with
    ``"descriptions"`` those of its description. With ``"words"`` it is E-BERT (Poerner et al., 2020, section 3): the
    entity vectors come from a space in which words have vectors too, such as Wikipedia2Vec's, and the fit is to the
    words that are in the model's vocabulary. The fitted rows are then stretched around their mean until they are
    spread as widely as the targets. The plugin can be used at once, or be a start for map-tuning.

    Args:
        plugin: Its mapping must be ``"affine"``, and lead to one row of the word embeddings, as that of map-tuning does
            and that of passages of one token; it is overwritten.
        model: The frozen model; not changed, not even run.
        tokenizer: The model's own tokenizer.
        targets: What to fit to. All entities take part that have a name, or a description.
        words: For ``"words"``: the vector of each word, in the space and of the width of the entity vectors.
        ridge: Strength of the ridge, added to the diagonal of the sums of products of the centred vectors. ``None``
            chooses the one that explains most of every tenth entity, which is held out, and then fits to all.

    Returns:
        What was fitted, and how well.

    Raises:
        IncompatibleModelError: The model's word embeddings are another space than the plugin was made for.
        MappingError: The mapping is an MLP, for which there is no closed form, or leads elsewhere, as into layers.
        TrainingError: There is nothing to fit to, the ridge is negative, ``words`` do not fit, or it is no plugin.

    Example:
        >>> align(plugin, model, tokenizer).held_out_r2  # doctest: +SKIP
        0.21
    """
    check_plugin(plugin, TrainingError)
    if not plugin.config.leads_to_words:
        raise MappingError(
            f"align fits to word embeddings; the network of this plugin ({plugin.config.injection.method!r}) leads "
            "elsewhere. Type: MapTuningTrainer(model=model, plugin=plugin, processing_class=tokenizer, "
            "train_dataset=rows).train()"
        )
    if plugin.config.mapping.kind != "affine":
        raise MappingError(
            f"align fits an affine mapping in closed form; this one is {plugin.config.mapping.kind!r}. Type: "
            "KnowledgePlugin.for_model(model, kb, mapping='affine'), or train this one with MapTuningTrainer."
        )
    if ridge is not None and not 0 <= ridge < math.inf:
        raise TrainingError(f"ridge: expected a number from 0 up, found {ridge}.")
    tokenizer = base_tokenizer(tokenizer)
    plugin.check_space(model)
    kept, held_out = (_Sums(plugin.config.mapping.input_dim, plugin.config.mapping.output_dim) for _ in range(2))
    embedding = input_embedding(model)
    for vectors, texts in _batches(plugin, targets, words):
        embedded, pieces = mean_word_vectors(texts, embedding, tokenizer)
        fit = pieces == 1 if targets == "words" else pieces > 0
        x, y = vectors[fit], embedded[fit]
        number = torch.arange(kept.n + held_out.n, kept.n + held_out.n + len(x))
        kept.add(x[number % _HELD_OUT > 0], y[number % _HELD_OUT > 0])
        held_out.add(x[number % _HELD_OUT == 0], y[number % _HELD_OUT == 0])
    whole = kept + held_out
    if whole.n == 0:
        missing = {"names": "a label", "descriptions": "a description", "words": "a word"}[targets]
        raise TrainingError(
            f"no entity of the knowledge base has {missing} that the tokenizer knows: nothing to fit to."
        )
    ridge, held_out_r2 = _choose_ridge(kept, held_out, ridge)
    weight, bias = whole.solve(ridge)
    r2 = whole.r2(weight, bias, whole.y / whole.n)
    weight, bias = whole.stretched(weight)
    with torch.no_grad():
        for parameter, value in zip(plugin.mapping.parameters(), (weight.T, bias), strict=True):
            parameter.copy_(value)
    plugin.results = []  # they were another mapping's
    measures = {"r2": r2, "ridge": float(ridge)} | ({} if held_out_r2 is None else {"held_out_r2": held_out_r2})
    measures = {name: value for name, value in measures.items() if math.isfinite(value)}
    training = TrainingConfig("align", rows=whole.n, measures=measures, versions=versions())
    plugin.config = replace(plugin.config, training=training)
    return AlignmentReport(targets, whole.n, r2, held_out_r2, ridge)


def _choose_ridge(kept: _Sums, held_out: _Sums, ridge: float | None) -> tuple[float, float | None]:
    """Return the strength that explains most of what is held out, and how much that is."""
    scale = float((kept + held_out).centred_xx().diagonal().mean())
    if kept.n + held_out.n < _FEWEST:
        return _STRENGTHS[len(_STRENGTHS) // 2] * scale if ridge is None else ridge, None
    tried = [strength * scale for strength in _STRENGTHS] if ridge is None else [ridge]
    explained = {strength: held_out.r2(*kept.solve(strength), kept.y / kept.n) for strength in tried}
    best = max(explained, key=explained.__getitem__)
    return best, explained[best]


def _batches(
    plugin: KnowledgePlugin, targets: Targets, words: Mapping[str, Sequence[float]] | None
) -> Iterator[tuple[torch.Tensor, list[str]]]:
    """Yield vectors ``[n, dim]`` and the texts that they are fitted to; an empty text is nothing to fit to."""
    if (words is None) == (targets == "words"):
        raise TrainingError(
            "the vectors of words belong to targets='words'. Type: align(..., targets='words', words={...})"
        )
    if words is not None:
        yield from _word_batches(words, plugin.config.mapping.input_dim)
        return
    if targets not in ("names", "descriptions"):
        raise TrainingError(f"targets: expected 'names', 'descriptions' or 'words', found {targets!r}.")
    kb, start = plugin.knowledge_base, 0
    texts: Iterable[str] = kb.labels() if targets == "names" else (entity.description or "" for entity in kb)
    texts = iter(texts)
    while batch := list(islice(texts, _BATCH)):
        yield kb.vectors(torch.arange(start, start + len(batch))), batch
        start += len(batch)


def _word_batches(words: Mapping[str, Sequence[float]], dim: int) -> Iterator[tuple[torch.Tensor, list[str]]]:
    items = iter(words.items())
    while batch := list(islice(items, _BATCH)):
        wrong = next(((word, vector) for word, vector in batch if len(vector) != dim), None)
        if wrong is not None:
            raise TrainingError(
                f"words: expected vectors of width {dim}, as those of the entities, found {len(wrong[1])} for "
                f"{wrong[0]!r:.80}. Words and entities must be of one space, such as Wikipedia2Vec's."
            )
        vectors = torch.stack([torch.as_tensor(vector, dtype=torch.float32) for _, vector in batch])
        if not bool(vectors.isfinite().all()):
            raise TrainingError("words: found NaN or infinite numbers in the vectors.")
        yield vectors, [word for word, _ in batch]


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

    def __add__(self, other: _Sums) -> _Sums:
        both = _Sums(len(self.x), len(self.y))
        both.n = self.n + other.n
        for name in ("x", "y", "xx", "xy", "yy"):
            setattr(both, name, getattr(self, name) + getattr(other, name))
        return both

    def centred_xx(self) -> torch.Tensor:
        return self.xx - torch.outer(self.x, self.x) / self.n

    def centred_yy(self) -> float:
        return float(self.yy - self.y.square().sum() / self.n)

    def solve(self, ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight ``[inputs, outputs]`` and bias ``[outputs]``."""
        xx, xy = self.centred_xx(), self.xy - torch.outer(self.x, self.y) / self.n
        # With no ridge and fewer entities than dimensions there are many solutions; lstsq takes the smallest.
        weight = torch.linalg.lstsq(xx + ridge * torch.eye(len(xx), dtype=xx.dtype), xy, driver="gelsd").solution
        return weight, (self.y - self.x @ weight) / self.n

    def r2(self, weight: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor) -> float:
        """Return the share of the squared distances from ``mean`` that a fit explains."""
        around_mean = float(self.yy - 2 * mean @ self.y + self.n * mean.square().sum())
        fitted = (weight * (self.xx @ weight)).sum() + 2 * bias @ (self.x @ weight) + self.n * bias.square().sum()
        left = float(self.yy - 2 * (weight * self.xy).sum() - 2 * bias @ self.y + fitted)
        return 1 - left / around_mean if around_mean > 0 else 0.0

    def stretched(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias that spread the rows around their mean as the targets are spread.

        A fit that explains little keeps close to the mean. Stretched, the entities are told apart: in the geography
        example that is worth 6.5 and 9.1 points.
        """
        fitted = float((weight * (self.centred_xx() @ weight)).sum())
        weight = weight * math.sqrt(max(self.centred_yy(), 0) / fitted) if fitted > 0 else weight
        return weight, (self.y - self.x @ weight) / self.n
