"""The metrics of the paper."""

from __future__ import annotations

from typing import NamedTuple

import torch


class MicroF1(NamedTuple):
    """Over all decisions of all rows."""

    precision: float
    recall: float
    f1: float


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of rows ``[n, classes]`` whose largest logit is that of the label ``[n]``.

    Example:
        >>> accuracy(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 0]))
        0.5
    """
    return float((logits.argmax(-1) == labels).double().mean())


def chosen_types(logits: torch.Tensor) -> torch.Tensor:
    """Return which types ``[n, types]`` are said: those of logit 0 and more, and the likeliest if there is none.

    The rule of the paper, ``logit >= min(0, max)``: nothing is ever said to have no type.

    Example:
        >>> chosen_types(torch.tensor([[0.0, -1.0], [-2.0, -1.0]])).tolist()
        [[True, False], [False, True]]
    """
    return logits >= logits.amax(-1, keepdim=True).clamp(max=0)


def micro_f1(said: torch.Tensor, labels: torch.Tensor) -> MicroF1:
    """Compare what is said with what is so, both ``[n, types]`` of 0 and 1.

    Where nothing is said and nothing is so, all three are 1; where only one of them is empty, they are 0.
    """
    said, labels = said.bool(), labels.bool()
    right, all_said, all_so = (int(x.sum()) for x in (said & labels, said, labels))
    if right == 0:
        return MicroF1(*[float(all_said == all_so == 0)] * 3)
    return MicroF1(right / all_said, right / all_so, 2 * right / (all_said + all_so))
