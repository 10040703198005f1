"""What self-feature regularisation would be for a plugin: withdrawn by its authors, rebuilt here to be measured.

The states of the input with a plugin are pulled towards those that the same frozen model has with the description in
its context: as sets, by the earth mover's distance, or place by place, by plain l2. Dynamic label smoothing lets the
model's own mean prediction be part of what is learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from knowledge_plugin.injection.hook import Hook
from knowledge_plugin.objectives.side import Added, SideModule

_IGNORED = -100
_TEACHER = "teacher_"


def transport_plan(
    cost: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, sharpness: float = 50.0, steps: int = 200
) -> torch.Tensor:
    """Return how mass is moved most cheaply, by Sinkhorn's iterations (Cuturi 2013), in logarithms.

    Args:
        cost: ``[batch, n, m]``, not negative.
        rows: Mass that is there, ``[batch, n]``; sums to 1. Places without mass are padding.
        columns: Mass that is wanted, ``[batch, m]``; sums to 1.
        sharpness: How strict it is, in units of the mean cost; the larger, the nearer to the exact plan.
        steps: Iterations.

    Returns:
        ``[batch, n, m]``; its sums over ``m`` are ``rows``, those over ``n`` are ``columns``, all but exactly.

    Example:
        >>> cost = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
        >>> half = torch.tensor([[0.5, 0.5]])
        >>> transport_plan(cost, half, half).round(decimals=3)
        tensor([[[0.5000, 0.0000],
                 [0.0000, 0.5000]]])
    """
    mean = (cost * rows[:, :, None] * columns[:, None, :]).sum((1, 2)).clamp(min=1e-12)
    kernel = -sharpness * cost / mean[:, None, None]
    log_rows, log_columns = rows.clamp(min=1e-30).log(), columns.clamp(min=1e-30).log()
    v = torch.zeros_like(columns)
    for _ in range(steps):
        u = log_rows - torch.logsumexp(kernel + v[:, None, :], 2)
        v = log_columns - torch.logsumexp(kernel + u[:, :, None], 1)
    return (kernel + u[:, :, None] + v[:, None, :]).exp()


def earth_movers_distance(
    first: torch.Tensor, second: torch.Tensor, first_mask: torch.Tensor, second_mask: torch.Tensor, **options: Any
) -> torch.Tensor:
    """Return the EMD-l2 of sets of states: the least sum of moved mass times squared distance.

    The plan is found without gradients and then held fixed (the envelope theorem: at the optimum its change does not
    matter to the first order). All states of a set weigh alike.

    Args:
        first: ``[batch, n, width]``.
        second: ``[batch, m, width]``.
        first_mask: ``[batch, n]``, 1 where there is a state.
        second_mask: ``[batch, m]``.
        **options: Of :func:`transport_plan`.

    Returns:
        ``[batch]``.
    """
    cost = torch.cdist(first, second).square()
    rows = first_mask / first_mask.sum(1, keepdim=True)
    columns = second_mask / second_mask.sum(1, keepdim=True)
    with torch.no_grad():
        plan = transport_plan(cost, rows, columns, **options)
    return (plan * cost).sum((1, 2))


class StateMatching(SideModule):
    """Pulls the last states of the input with a plugin towards those with the text in context.

    Batches come from :class:`~knowledge_plugin.objectives.distilling.DistillingCollator`.

    Args:
        distance: ``"emd"``: of all states of both, as sets. ``"l2"``: of the tokens that both have in common behind the
            entity, place by place.
        weight: Beside the task's loss. A distance of 1 is what two states differ by in the mean.
    """

    def __init__(self, distance: Literal["emd", "l2"], weight: float) -> None:
        super().__init__()
        self.distance, self.weight = distance, weight

    @contextmanager
    def step(self, model: nn.Module, hook: Hook, inputs: dict[str, Any]) -> Iterator[Added]:
        """Add the weighted distance, in units of the variance of the teacher's states."""
        teacher = {n.removeprefix(_TEACHER): inputs.pop(n) for n in list(inputs) if n.startswith(_TEACHER)}
        teacher.pop("labels")
        own = hook.ids.mask(inputs["input_ids"])
        inputs["output_hidden_states"] = True

        def added(outputs: Any) -> torch.Tensor:
            training = model.training
            with torch.no_grad():
                wanted = model.eval()(**teacher, output_hidden_states=True).hidden_states[-1]
            model.train(training)
            found = outputs["hidden_states"][-1]
            masks = inputs["attention_mask"], teacher["attention_mask"]
            here = wanted[masks[1].bool()]
            scale = 2 * (here - here.mean(0)).square().sum(1).mean()
            if self.distance == "emd":
                return self.weight * (earth_movers_distance(found, wanted, *(m.float() for m in masks)) / scale).mean()
            return self.weight * _in_common(found, wanted, *masks, own) / scale

        yield added


def _in_common(
    found: torch.Tensor, wanted: torch.Tensor, found_mask: torch.Tensor, wanted_mask: torch.Tensor, own: torch.Tensor
) -> torch.Tensor:
    """Return the mean squared distance at tokens behind the entity and its separator, which end both texts."""
    parts = []
    for i in range(len(found)):
        length, longer = int(found_mask[i].sum()), int(wanted_mask[i].sum())
        same = length - (int(own[i].nonzero()[-1]) + 2)
        parts.append((found[i, length - same : length] - wanted[i, longer - same : longer]).square().sum(1))
    return torch.cat(parts).mean()


class DynamicLabelSmoothing(SideModule):
    """Learns from ``(1 - e) onehot + e q``, where ``q`` is the mean prediction for that answer so far.

    Args:
        vocab_size: Of the model.
        most: What ``e`` is at the end; it begins at 0 and grows in equal steps.
        steps: Of the whole training.
    """

    mean: torch.Tensor

    def __init__(self, vocab_size: int, most: float, steps: int) -> None:
        super().__init__()
        self.most, self.steps, self.done = most, steps, 0
        self.register_buffer("mean", torch.eye(vocab_size))

    @contextmanager
    def step(self, model: nn.Module, hook: Hook, inputs: dict[str, Any]) -> Iterator[Added]:
        """Add what makes the model's own loss that of the smoothed labels: ``e (CE(q) - CE(onehot))``."""
        labels = inputs["labels"]

        def added(outputs: Any) -> torch.Tensor:
            answers = labels[:, 1:][labels[:, 1:] != _IGNORED]
            logits = outputs["logits"][:, :-1][labels[:, 1:] != _IGNORED].float()
            share = self.most * min(1.0, self.done / self.steps)
            self.done += 1
            smooth = functional.cross_entropy(logits, self.mean[answers])
            with torch.no_grad():
                for answer, seen in zip(answers.tolist(), logits.softmax(-1), strict=True):
                    self.mean[answer].lerp_(seen, 0.05)
            return share * (smooth - functional.cross_entropy(logits, answers))

        yield added
