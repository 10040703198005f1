"""How plausible records are to a model, and leaving out those that are not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console
from rich.progress import track
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from knowledge_plugin.building.asking import likelihoods
from knowledge_plugin.building.field_masking import Template, template_for
from knowledge_plugin.building.records import TEXT_FIELDS, Record, checked
from knowledge_plugin.errors import RecordError

Judge = Literal["evidence", "field"]
_LEVELS = tuple(tenth / 10 for tenth in range(11))


def judge_records(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Iterable[Record],
    by: Judge = "evidence",
    *,
    name: str | None = None,
    template: Template | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> list[Record]:
    """Return records with the plausibility that a model gives them, in place of what they had.

    - ``"field"``: the model is asked for the plausibility, as for any other field, of all else that the record says:
      the mean of 0.0, 0.1, ... and 1.0, each as likely as the model finds it. It must have learned the field.
    - ``"evidence"``: how much more likely the inference is with the context than without, by the mean log-probability
      ``x`` of its tokens, as ``1 / (1 + exp(x_without - x_with))``: 0.5 if the context says nothing of it. It needs
      no judgements to learn from. Ours; what is likely whatever the context gains nothing by it.

    Args:
        model: Seq2seq or causal.
        tokenizer: Its tokenizer.
        records: Any. To be judged, one needs a text for ``"field"``, and context and inference for ``"evidence"``;
            others come back without a plausibility.
        by: See above.
        name: Of the model, for provenance; ``None`` takes the model's own. Records without provenance get none.
        template: How records are written out; ``None`` for that of the model's kind.
        batch_size: Texts that the model reads together.
        progress: Show progress on stderr.

    Returns:
        A record for each, in order.

    Raises:
        RecordError: No such judge, the model cannot be asked by this template or gives no numbers, a text is longer
            than it reads, or something is no record.
    """
    check_judge("by", by)
    if type(batch_size) is not int or batch_size < 1:
        raise RecordError(f"batch_size: expected a number from 1 up, found {batch_size!r:.80}.")
    template = template_for(model, tokenizer, template)
    called = f"{name or model_name(model)}, {by}"
    bare = [replace(record, plausibility=None) for record in checked(records)]
    needed = ("context", "inference") if by == "evidence" else ()
    able = [
        i for i, record in enumerate(bare) if record.known and all(getattr(record, each) is not None for each in needed)
    ]
    judged = list(bare)
    starts = range(0, len(able), batch_size)
    shown = track(starts, "judging", console=Console(stderr=True), disable=not progress, transient=True)
    for start in shown:
        chosen = able[start : start + batch_size]
        some = [bare[i] for i in chosen]
        values = (_evidence if by == "evidence" else _field)(model, tokenizer, some, template)
        for i, value in zip(chosen, values, strict=True):
            of = bare[i].provenance
            judged[i] = replace(
                bare[i], plausibility=value, provenance=None if of is None else replace(of, judge=called)
            )
    return judged


def check_judge(option: str, judge: object) -> None:
    """Raise :class:`RecordError` unless there is such a judge."""
    if judge not in get_args(Judge):
        raise RecordError(f"{option}: expected 'evidence' or 'field', found {judge!r:.80}.")


def _evidence(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, records: Sequence[Record], template: Template
) -> list[float]:
    told = [template.masked(record, ["inference"]) for record in records]
    untold = [template.masked(record, ["inference"], ["query"]) for record in records]
    found = zip(*(likelihoods(model, tokenizer, texts, template) for texts in (told, untold)), strict=True)
    return [_logistic((known - unknown) / max(1, count)) for (known, count), (unknown, _) in found]


def _field(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, records: Sequence[Record], template: Template
) -> list[float]:
    found = [
        likelihoods(
            model,
            tokenizer,
            [template.masked(replace(record, plausibility=level), ["plausibility"], TEXT_FIELDS) for record in records],
            template,
        )
        for level in _LEVELS
    ]
    values = []
    for likely in zip(*found, strict=True):
        highest = max(total for total, _ in likely)
        weights = [math.exp(total - highest) for total, _ in likely]
        values.append(sum(map(math.prod, zip(weights, _LEVELS, strict=True))) / sum(weights))
    return [min(1.0, value) for value in values]


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


@dataclass(frozen=True)
class Filtered:
    """What :func:`filter_records` left, and what it left out: no record is lost. ``str()`` of it is a sentence.

    Attributes:
        kept: Records that are plausible enough, in order.
        dropped: The others, in order.
        at_least: The plausibility that was asked for.
        unjudged: How many have no plausibility, wherever they went.
    """

    kept: list[Record]
    dropped: list[Record]
    at_least: float
    unjudged: int

    def __str__(self) -> str:
        total = len(self.kept) + len(self.dropped)
        silent = f"; {self.unjudged} have none" if self.unjudged else ""
        return f"{len(self.kept)} of {total} records kept, with a plausibility of {self.at_least:g} at least{silent}"


def filter_records(records: Iterable[Record], at_least: float, *, keep_unjudged: bool = False) -> Filtered:
    """Sort records by whether they are plausible enough.

    Args:
        records: Any.
        at_least: A plausibility from 0 to 1.
        keep_unjudged: Whether those without a plausibility are kept.

    Raises:
        RecordError: A plausibility that is none, or something that is no record.

    Example:
        >>> found = filter_records([Record("rain", None, "wet", 0.9), Record("rain", None, "dry", 0.1)], 0.5)
        >>> print(found)
        1 of 2 records kept, with a plausibility of 0.5 at least
        >>> found.dropped[0].inference
        'dry'
    """
    if isinstance(at_least, bool) or not isinstance(at_least, (int, float)) or not 0 <= at_least <= 1:
        raise RecordError(f"at_least: expected a number from 0 to 1, found {at_least!r:.80}.")
    kept: list[Record] = []
    dropped: list[Record] = []
    unjudged = 0
    for record in checked(records):
        unjudged += record.plausibility is None
        enough = keep_unjudged if record.plausibility is None else record.plausibility >= at_least
        (kept if enough else dropped).append(record)
    return Filtered(kept, dropped, float(at_least), unjudged)


def model_name(model: PreTrainedModel) -> str:
    """Return what a model is called: of a folder its last part alone, since names travel with what is published.

    Raises:
        RecordError: It has no name.
    """
    if found := str(getattr(model, "name_or_path", "") or "").strip():
        return (Path(found).resolve().name or found) if Path(found).is_dir() else found
    raise RecordError(
        "name: expected the name of the model, for what it says to be traced to it, found none. Pass name="
    )
