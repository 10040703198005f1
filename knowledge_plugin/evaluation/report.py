"""What an evaluation found: plain values, and how they are shown."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from knowledge_plugin.evaluation.bootstrap import FEW_CLUSTERS
from knowledge_plugin.evaluation.conditions import PLUGIN
from knowledge_plugin.evaluation.plot import save_bars
from knowledge_plugin.evaluation.probe import Probe
from knowledge_plugin.reports import finite, save_text
from knowledge_plugin.results import Control, EvaluationResult, Score

ALL = "all"

CONDITION_TITLES = {
    "none": "nothing attached",
    "plugin": "the plugin",
    "untrained": "  untrained mapping",
    "shuffled": "  shuffled vectors",
    "random": "  random vectors",
    "zero": "  zero vectors",
    "text": "descriptions in the text",
}
PART_TITLES = {
    "seen": "sentences about entities seen in training",
    "unseen": "sentences about entities never seen in training",
}

_SHARES = ("accuracy", "micro-f1", "hits@")  # shown in percent


@dataclass(frozen=True)
class Result:
    """How one condition did on all rows, or on a part of them.

    Attributes:
        condition: ``"none"``, ``"plugin"``, ``"shuffled"`` and so on.
        part: ``"all"``, ``"seen"`` or ``"unseen"``.
        value: The metric.
        low: Lower bound of its interval, ``None`` if there are too few entities for one.
        high: Upper bound.
        rows: How many rows.
    """

    condition: str
    part: str
    value: float
    low: float | None
    high: float | None
    rows: int


@dataclass(frozen=True)
class Comparison:
    """What the plugin has more of the metric than a control, on the same rows.

    Attributes:
        control: The control.
        part: ``"all"``, ``"seen"`` or ``"unseen"``.
        difference: The plugin's value minus the control's.
        low: Lower bound of its interval, ``None`` if there are too few entities for one.
        high: Upper bound.
        p_value: Of the paired bootstrap, for there being no difference.
    """

    control: str
    part: str
    difference: float
    low: float | None
    high: float | None
    p_value: float | None


@dataclass(frozen=True)
class Report:
    """What :func:`knowledge_plugin.evaluate` found. ``print(report)`` shows a table, below a first line that judges it.

    Attributes:
        task: What the model was asked, as the Hub calls it.
        dataset: Name of the dataset, if it is known.
        metric: Name of the metric.
        higher_is_better: Whether more of it is better.
        model: Name of the frozen checkpoint.
        knowledge_base: Name of the knowledge base.
        form: ``"concat"`` or ``"replace"``.
        results: Every condition on every part of the rows.
        comparisons: The plugin against every control on every part.
        rows: How many rows (sentences) there are.
        rows_with_mentions: In how many of them a mention is linked.
        mentions_linked: How many mentions are linked, as the model sees them.
        entities: How many different entities these are of.
        entities_seen: How many of these were seen in training; ``None`` if nobody has said which were.
        entities_unseen: How many were not.
        clusters: How many units the bootstrap draws: entities, and rows without a mention.
        probe: The linear probe on the entity vectors, if there is one.
        omitted: Conditions and figures that are left out, with the reason.
        notes: What a reader should know before the figures are believed.
        test: How intervals and p-values were made.
        confidence: Of the intervals.
        resamples: Draws of the bootstrap.
        seed: Of everything random.
        text_template: What the control ``"text"`` puts before a text, for each entity.
        seconds: How long the model ran under each condition.
        tokens_per_second: How fast, padding not counted.
        versions: Of the libraries.
    """

    task: str
    dataset: str | None
    metric: str
    higher_is_better: bool
    model: str
    knowledge_base: str
    form: str
    results: tuple[Result, ...]
    comparisons: tuple[Comparison, ...]
    rows: int
    rows_with_mentions: int
    mentions_linked: int
    entities: int
    entities_seen: int | None
    entities_unseen: int | None
    clusters: int
    probe: Probe | None
    omitted: dict[str, str]
    notes: tuple[str, ...]
    test: str
    confidence: float
    resamples: int
    seed: int
    text_template: str | None
    seconds: dict[str, float]
    tokens_per_second: dict[str, float]
    versions: dict[str, str] = field(default_factory=dict)

    # ---- asking it -----------------------------------------------------------------------------------------------

    def __getitem__(self, condition: str) -> Result:
        """Return how a condition did on all rows; ``KeyError`` if it was not run."""
        return {result.condition: result for result in self.results if result.part == ALL}[condition]

    def gain(self, control: str = "shuffled", part: str = ALL) -> Comparison | None:
        """Return the plugin against a control, or ``None`` if that was not run."""
        return next((c for c in self.comparisons if (c.control, c.part) == (control, part)), None)

    def as_result(self, dataset: str | None = None) -> EvaluationResult:
        """Return what a card shows of it: ``plugin.results.append(report.as_result())``, then save or push.

        Args:
            dataset: What the dataset is called, if the report does not know.

        Raises:
            ConfigError: The metric gives no number.
        """
        scores = {
            result.condition: Score.of(result.value, result.low, result.high)
            for result in self.results
            if result.part == ALL
        }
        shown: tuple[Control, ...] = ("none", "shuffled", "random", "text")
        return EvaluationResult(
            task=self.task,
            dataset=dataset or self.dataset or "a dataset without a name",
            metric=self.metric,
            score=scores[PLUGIN],
            controls={control: scores[control] for control in shown if control in scores},
            n=self.rows,
            seeds=[self.seed],
            interval=f"{self.confidence:.0%} bootstrap interval over entities",
            mentions_linked=self.mentions_linked,
            entities=self.entities,
            unseen_entities=self.entities_unseen,
            model=self.model,
        )

    @property
    def verdict(self) -> str:
        """One sentence or two: whether the plugin brings knowledge."""
        if self.mentions_linked == 0:
            return (
                f"The linker found no mention in any of the {self.rows} rows: nothing was plugged in, and no figure "
                "here says anything about the knowledge."
            )
        part = "unseen" if any(result.part == "unseen" for result in self.results) else ALL
        gain, over_none = self.gain("shuffled", part), self.gain("none", part)
        if gain is None:
            return "Without the control of shuffled vectors it is not known whether any gain is knowledge."
        on = "on entities never seen in training, " if part == "unseen" else ""
        said = f"{on}plugin minus shuffled is {self._difference(gain)}"
        if math.isnan(gain.difference):
            return f"The metric {self.metric} gives no number here."
        if gain.low is None or gain.high is None:
            return f"Too few entities for an interval: {said}."
        if gain.low <= 0 <= gain.high:
            return f"No gain is shown: {said}, which holds zero."
        if (gain.difference > 0) != self.higher_is_better:
            return f"The plugin does harm: {said}."
        if over_none is None:
            verdict = f"A gain is shown: {said}."
        elif _is_better(over_none, self.higher_is_better):
            verdict = f"A gain is shown: {said}, and plugin minus nothing {self._difference(over_none)}."
        else:
            verdict = (
                f"A gain over shuffled vectors is shown ({said}), but none over the model as it is: plugin minus "
                f"nothing is {self._difference(over_none)}."
            )
        if self.entities_unseen == 0:
            verdict += " Every entity was seen in training, so that this may be learned by heart."
        return verdict

    # ---- showing it ----------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        buffer = io.StringIO()
        console = Console(file=buffer, width=200, color_system=None, force_terminal=False, legacy_windows=False)
        table = Table()
        for i, name in enumerate(self._header()):
            table.add_column(name, justify="right" if i else "left", no_wrap=True)
        for part, lines in self._lines():
            if part != ALL:
                table.add_section()
                table.add_row(PART_TITLES[part])
            for line in lines:
                table.add_row(*line)
        console.print(table)
        return "\n".join([self.verdict, self._about(), buffer.getvalue().rstrip("\n"), *self._footnotes()])

    def to_markdown(self) -> str:
        """Return a section for a card: the verdict, the table, and how it was made."""
        header = self._header()
        lines = ["## Evaluation", "", self.verdict, "", self._about(), ""]
        lines += [_markdown_row(header), _markdown_row(["---"] + ["--:"] * (len(header) - 1))]
        for part, rows in self._lines():
            if part != ALL:
                lines.append(_markdown_row([f"*{PART_TITLES[part]}*"] + [""] * (len(header) - 1)))
            lines += [_markdown_row(_bold(row) if row[0] == CONDITION_TITLES[PLUGIN] else row) for row in rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in self._footnotes())]) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, flat enough to fill a model card's metadata; a figure that is no number is ``None``."""
        rest = asdict(self)
        del rest["results"], rest["comparisons"]
        whole = self._figures(ALL)
        parts = {part: self._figures(part) for part in dict.fromkeys(r.part for r in self.results) if part != ALL}
        return finite({"verdict": self.verdict} | rest | whole | {"parts": parts})

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the report as JSON, beside and renamed."""
        save_text(path, self.to_json())

    def plot(self, path: str | Path) -> None:
        """Draw a bar for each condition, with its interval, into a PNG, SVG or PDF file.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        scale = 100 if self._in_percent else 1
        bars = {
            CONDITION_TITLES[r.condition].strip(): [
                None if v is None or not math.isfinite(v) else v * scale for v in (r.value, r.low, r.high)
            ]
            for r in self.results
            if r.part == ALL
        }
        parts = {
            f"{part} entities": [r.value * scale for r in self.results if r.part == part]
            for part in PART_TITLES
            if any(r.part == part for r in self.results)
        }
        better = "" if self.higher_is_better else ", lower is better"
        save_bars(
            Path(path),
            bars,
            parts,
            highlighted=CONDITION_TITLES[PLUGIN],
            show=lambda value: f"{value:.1f}" if self._in_percent else f"{value:.4g}",
            label=f"{self.metric}{', in percent' if self._in_percent else better}",
            title=self.verdict,
            subtitle=self._about(),
        )

    # ---- its parts -----------------------------------------------------------------------------------------------

    @property
    def _in_percent(self) -> bool:
        return self.metric.startswith(_SHARES)

    def _show(self, value: float | None, sign: str = "") -> str:
        if value is None or math.isnan(value):
            return "-"
        return f"{100 * value:{sign}.1f}" if self._in_percent else f"{value:{sign}.{3 if sign else 4}g}"

    def _interval(self, low: float | None, high: float | None, sign: str = "") -> str:
        return "-" if low is None else f"{self._show(low, sign)} to {self._show(high, sign)}"

    def _difference(self, gain: Comparison) -> str:
        unit = "points of " if self._in_percent else ""
        interval = ""
        if gain.low is not None:
            interval = f" ({100 * self.confidence:g} % interval {self._interval(gain.low, gain.high, '+')})"
        return f"{self._show(gain.difference, '+')} {unit}{self.metric}{interval}"

    def _about(self) -> str:
        where = f" of {self.dataset}" if self.dataset else ""
        seen = "" if self.entities_unseen is None else f", {self.entities_unseen} of them never seen in training"
        return (
            f"{self.model} ({self.task}) with {self.knowledge_base}: {self.mentions_linked} mentions linked in "
            f"{self.rows_with_mentions} of {self.rows} rows{where}, {self.entities} entities{seen}."
        )

    def _header(self) -> list[str]:
        unit = f"{self.metric}, %" if self._in_percent else self.metric
        interval = f"{100 * self.confidence:g} % interval"
        return ["the frozen model with ...", "rows", unit, interval, "plugin minus this", interval, "p", "tokens/s"]

    def _lines(self) -> list[tuple[str, list[list[str]]]]:
        parts: dict[str, list[list[str]]] = {}
        for result in self.results:
            gain = self.gain(result.condition, result.part)
            compared = ["", "", ""]
            if gain is not None:
                p = "-" if gain.p_value is None else "< 0.001" if gain.p_value < 0.001 else f"{gain.p_value:.3f}"
                compared = [self._show(gain.difference, "+"), self._interval(gain.low, gain.high, "+"), p]
            speed = self.tokens_per_second.get(result.condition) if result.part == ALL else None
            parts.setdefault(result.part, []).append(
                [
                    CONDITION_TITLES[result.condition],
                    str(result.rows),
                    self._show(result.value),
                    self._interval(result.low, result.high),
                    *compared,
                    "" if speed is None else f"{speed:,.0f}",
                ]
            )
        return list(parts.items())

    def _footnotes(self) -> list[str]:
        notes = list(self.notes)
        if self.probe is not None:
            p = self.probe
            bounds = "" if p.low is None or p.high is None else f" ({100 * p.low:.1f} to {100 * p.high:.1f})"
            notes.append(
                f"Linear probe on the vectors: {100 * p.accuracy:.1f} %{bounds} of {p.entities} entities get their "
                f"label, of {p.labels}; the most frequent label would get {100 * p.most_frequent:.1f} %."
            )
        notes += [f"Left out: {name}: {reason}" for name, reason in self.omitted.items()]
        if self.text_template is not None:
            notes.append(f"Descriptions stand before the text as `{self.text_template}`, one for each linked entity.")
        if {"shuffled", "random", "zero"} & {result.condition for result in self.results}:
            notes.append(
                "Other vectors go through the mapping that was trained with the real ones, and may mislead the model: "
                "where they do worse than nothing attached, the gain over nothing is the fairer figure."
            )
        if 1 < self.clusters < FEW_CLUSTERS:
            notes.append(f"Only {self.clusters} entities, or rows without one: intervals over so few are too narrow.")
        return [*notes, f"Intervals and p: {self.test}, {self.resamples} draws, seed {self.seed}."]

    def _figures(self, part: str) -> dict[str, Any]:
        mine = [result for result in self.results if result.part == part]
        return {
            "values": {result.condition: result.value for result in mine},
            "intervals": {result.condition: [result.low, result.high] for result in mine},
            "n": max((result.rows for result in mine), default=0),
            "gains": {
                c.control: {"difference": c.difference, "low": c.low, "high": c.high, "p_value": c.p_value}
                for c in self.comparisons
                if c.part == part
            },
        }


def _is_better(gain: Comparison, higher_is_better: bool) -> bool:
    if gain.low is None or gain.high is None:
        return False
    return gain.low > 0 if higher_is_better else gain.high < 0


def _bold(cells: Sequence[str]) -> list[str]:
    return [f"**{cell}**" if cell else "" for cell in cells]


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.strip().replace("|", "\\|") for cell in cells) + " |"
