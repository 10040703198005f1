"""What is found of each condition: plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """How one condition did on all probes, or on a part of them.

    Attributes:
        condition: ``"none"``, ``"another"``, ``"prepend"``, ``"plugin"``, ``"shuffled"`` or ``"random"``; of Entity
            Inferences also ``"majority"`` (the most frequent answer of each file) and ``"chance"``.
        metric: ``"accuracy"``, ``"P(gold)"`` or ``"perplexity"``.
        part: ``"all"``, ``"easy"``, ``"hard"``, ``"linked"`` (an entity is plugged in), or the name of a file.
        value: The figure.
        low: Lower bound of its interval over entities, ``None`` if there are too few.
        high: Upper bound.
        rows: How many probes.
    """

    condition: str
    metric: str
    part: str
    value: float
    low: float | None
    high: float | None
    rows: int


@dataclass(frozen=True)
class Contrast:
    """What one condition has more of a metric than another, on the same draws of entities.

    Attributes:
        condition: Whose value.
        over: Minus whose.
        metric: The metric.
        part: As in :class:`Figure`.
        difference: The difference.
        low: Lower bound of its interval.
        high: Upper bound.
        p_value: Of the paired bootstrap, for there being no difference.
    """

    condition: str
    over: str
    metric: str
    part: str
    difference: float
    low: float | None
    high: float | None
    p_value: float | None


@dataclass(frozen=True)
class Specificity:
    """What becomes of sentences that an injected entity has nothing to do with.

    Attributes:
        condition: What was injected how.
        metric: Perplexity on popular entities (ECBD), accuracy on other rows of the same file (Entity Inferences).
        before: With nothing injected.
        after: With it.
        difference: ``after - before``.
        low: Lower bound of its interval.
        high: Upper bound.
        rows: How many sentences.
        edits: How many injections were tried on each, in the mean; 1 where all entities are plugged in at once.
        touched: In how many sentences something was plugged in; ``None`` where a definition stands before each.
    """

    condition: str
    metric: str
    before: float
    after: float
    difference: float
    low: float | None
    high: float | None
    rows: int
    edits: float
    touched: int | None
