"""Gaussian prototypes: a mean and a variance for each class, which stand for data that nobody kept."""

from __future__ import annotations

import math

import torch
from torch import nn

from knowledge_plugin.errors import TrainingError

# Of features that are scaled to about 1: a class may be narrow or wide, not a point or everything.
MIN_LOGVAR, MAX_LOGVAR = -6.0, 6.0
_LOG_2_PI = math.log(2 * math.pi)


class Prototypes(nn.Module):
    """A diagonal Gaussian for each of ``C`` classes in a feature space of ``m`` numbers; all of it can be trained.

    That ALeN (Ambastha and Leong, arXiv 2301.12054) replays from trainable Gaussian prototypes is known from its
    abstract; the diagonal form and all formulas here are a reconstruction, the paper's text was not at hand.

    A prototype is no anonymisation: the mean of a class with few members is nearly a member, and what is sampled from
    it can be told from what was never there.

    Attributes:
        mu: float32 ``[C, m]``, means.
        logvar: float32 ``[C, m]``, logarithms of variances.
        prior: float32 ``[C]``, how frequent each class is.

    Example:
        >>> features = torch.tensor([[0.0], [0.2], [5.0], [5.2]])
        >>> prototypes = Prototypes.of(features, torch.tensor([0, 0, 1, 1]), classes=2)
        >>> prototypes.posterior(torch.tensor([[0.1], [4.9]])).argmax(-1).tolist()
        [0, 1]
    """

    mu: nn.Parameter
    logvar: nn.Parameter
    prior: torch.Tensor

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(classes, dim))
        self.logvar = nn.Parameter(torch.zeros(classes, dim))
        self.register_buffer("prior", torch.full((classes,), 1 / classes))

    @classmethod
    def of(cls, features: torch.Tensor, labels: torch.Tensor, classes: int) -> Prototypes:
        """Return the prototypes of labelled features: the likeliest in closed form.

        Args:
            features: float32 ``[n, m]``, scaled to about 1, as a follower does: variances are held between ``exp(-6)``
                and ``exp(6)``, and densities far from zero lose digits.
            labels: int64 ``[n]``, from 0 to ``classes - 1``.
            classes: How many classes.

        Raises:
            TrainingError: A class has no member, or a label is of no class.
        """
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise TrainingError(
                f"labels: expected numbers of {classes} classes from 0, found {int(labels.min())} to "
                f"{int(labels.max())}."
            )
        prototypes = cls(classes, features.shape[1]).to(features.device)
        counts = torch.bincount(labels, minlength=classes)
        if not bool((counts > 0).all()):
            missing = int((counts == 0).nonzero()[0])
            raise TrainingError(f"expected members of all {classes} classes, found none of class {missing}.")
        with torch.no_grad():
            for label in range(classes):
                mean, logvar = _statistics(features[labels == label])
                prototypes.mu[label], prototypes.logvar[label] = mean, logvar
            prototypes.prior.copy_(counts / counts.sum())
        return prototypes

    def log_prob(self, features: torch.Tensor) -> torch.Tensor:
        """Return ``log N(f; mu_c, diag exp logvar_c)`` for features ``[n, m]`` and each class, ``[n, C]``."""
        logvar = self.logvar.clamp(MIN_LOGVAR, MAX_LOGVAR)
        # (f - mu)^2 / var multiplied out, so that nothing of [n, C, m] is made.
        precision = torch.exp(-logvar)
        squares = features.square() @ precision.T - 2 * features @ (self.mu * precision).T
        squares = squares + (self.mu.square() * precision).sum(-1)
        return -0.5 * (squares + logvar.sum(-1) + features.shape[-1] * _LOG_2_PI)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Return ``log prior_c + log N(f; c)``, ``[n, C]``."""
        return self.log_prob(features) + self.prior.clamp(min=1e-12).log()

    def posterior(self, features: torch.Tensor) -> torch.Tensor:
        """Return how likely each class is, ``[n, C]``, by Bayes' rule."""
        return self.logits(features).softmax(-1)

    def sample(self, count: int, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw features ``[count, m]`` and their classes ``[count]``, each class equally often up to one.

        Gradients reach means and variances through the samples.
        """
        labels = torch.arange(count, device=self.mu.device) % len(self.mu)
        noise = torch.randn(count, self.mu.shape[1], generator=generator).to(self.mu.device)
        spread = torch.exp(0.5 * self.logvar.clamp(MIN_LOGVAR, MAX_LOGVAR))
        return self.mu[labels] + spread[labels] * noise, labels

    @torch.no_grad()
    def refresh(self, features: torch.Tensor, labels: torch.Tensor, rate: float) -> None:
        """Move the Gaussian of each class towards that of new members, ``rate`` of the way; 1 forgets the old one.

        The variance is that of the mixture of both, which is wider where the means differ. A class of which there are
        fewer than two new members stays.
        """
        for label in labels.unique().tolist():
            new = features[labels == label]
            if len(new) < 2:
                continue
            mean, logvar = _statistics(new)
            old_mean, old_var = self.mu[label].clone(), self.logvar[label].exp()
            mixed = (1 - rate) * old_mean + rate * mean
            apart = (1 - rate) * (old_mean - mixed).square() + rate * (mean - mixed).square()
            variance = (1 - rate) * old_var + rate * logvar.exp() + apart
            self.mu[label], self.logvar[label] = mixed, variance.log().clamp(MIN_LOGVAR, MAX_LOGVAR)


def _statistics(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and logarithm of the variance; one member alone is taken for as wide as can be told: 1."""
    if len(features) < 2:
        return features.mean(0), torch.zeros_like(features[0])
    return features.mean(0), features.var(0, unbiased=False).clamp(min=1e-12).log().clamp(MIN_LOGVAR, MAX_LOGVAR)
