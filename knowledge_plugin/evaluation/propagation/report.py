"""What an evaluation of propagation found: plain values, and how they are shown."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from knowledge_plugin.evaluation.propagation.conditions import NONE, PREPEND
from knowledge_plugin.evaluation.propagation.entities import Coverage
from knowledge_plugin.evaluation.propagation.findings import Contrast, Figure, Specificity
from knowledge_plugin.evaluation.propagation.measures import METRICS, VALUE_OF
from knowledge_plugin.evaluation.propagation.probes import TaskName
from knowledge_plugin.evaluation.propagation.tables import as_markdown, as_text, interval, number
from knowledge_plugin.evaluation.report import ALL
from knowledge_plugin.reports import finite, save_text
from knowledge_plugin.results import Control, EvaluationResult, Score

PLUGIN = "plugin"


@dataclass(frozen=True)
class PropagationReport:
    """What :func:`propagation` found. ``print(report)`` shows tables, below a first line that judges the plugin.

    Attributes:
        task: ``"ecbd"`` or ``"entity-inferences"``.
        model: Name of the frozen checkpoint.
        kind: How it was asked: ``"causal"``, ``"masked"`` or ``"seq2seq"``.
        knowledge_base: Name of the knowledge base.
        form: ``"concat"`` or ``"replace"``, or the method if it puts no tokens into a text.
        figures: Every condition on every part, by every metric.
        contrasts: Conditions against each other.
        specificity: What was done to sentences about others.
        coverage: How many entities the knowledge base had.
        files: How many probes each file has.
        omitted: Conditions and figures that are left out, with the reason.
        notes: What a reader should know before the figures are believed.
        test: How intervals and p-values were made.
        confidence: Of the intervals.
        resamples: Draws of the bootstrap.
        seed: Of everything random.
        versions: Of the libraries.
    """

    task: TaskName
    model: str
    kind: str
    knowledge_base: str
    form: str
    figures: tuple[Figure, ...]
    contrasts: tuple[Contrast, ...]
    specificity: tuple[Specificity, ...]
    coverage: Coverage
    files: dict[str, int]
    omitted: dict[str, str]
    notes: tuple[str, ...]
    test: str
    confidence: float
    resamples: int
    seed: int
    versions: dict[str, str] = field(default_factory=dict)

    # ---- asking it -----------------------------------------------------------------------------------------------

    @property
    def metric(self) -> str:
        """The metric that is looked at first."""
        return METRICS[self.task][0]

    def figure(self, condition: str, metric: str | None = None, part: str = ALL) -> Figure:
        """Return a figure; ``KeyError`` if there is none."""
        wanted = (condition, metric or self.metric, part)
        return {(each.condition, each.metric, each.part): each for each in self.figures}[wanted]

    def contrast(self, condition: str, over: str, metric: str | None = None, part: str = ALL) -> Contrast | None:
        """Return one condition against another, or ``None`` if they were not compared."""
        wanted = (condition, over, metric or self.metric, part)
        found = {(each.condition, each.over, each.metric, each.part): each for each in self.contrasts}
        return found.get(wanted)

    @property
    def verdict(self) -> str:
        """One sentence or two: whether knowledge propagates through the plugin, on hard probes if there are any."""
        if not self.coverage.linked:
            return (
                "No entity of any probe is plugged in: the knowledge base has none of them by these names, and no "
                "figure of the plugin says anything. Add them from their definitions: embedder=..."
            )
        # What the definition says in so many words may merely be copied.
        part = "hard" if any(each.part == "hard" for each in self.figures) else ALL
        gain, over_none = (self.contrast(PLUGIN, over, part=part) for over in ("shuffled", NONE))
        if gain is None or over_none is None:
            return "Without the control of shuffled vectors it is not known whether any gain is knowledge."
        where = "where the definition does not say the answer, " if part == "hard" else ""
        said = f"{where}plugin minus shuffled vectors is {self._difference(gain)}"
        both = f"{said}, and plugin minus nothing {self._difference(over_none)}"
        if gain.low is None:
            return f"Too few entities for an interval: {both}."
        if not self._is_better(gain):
            return f"No propagation is shown: {said}."
        if not self._is_better(over_none):
            return f"A gain over shuffled vectors, but none over the model as it is: {both}."
        if part != "hard":
            return f"The plugin tells what definitions say in so many words, and nothing else is asked: {both}."
        return f"Knowledge propagates: {both}.{self._beside_the_majority()}{self._ceiling()}"

    def as_result(self, dataset: str | None = None) -> EvaluationResult:
        """Return what a card shows of it: ``plugin.results.append(report.as_result())``, then save or push."""
        shown: dict[str, Control] = {NONE: "none", "shuffled": "shuffled", "random": "random", PREPEND: "text"}
        scores = {each.condition: each for each in self.figures if (each.metric, each.part) == (self.metric, ALL)}
        return EvaluationResult(
            task={"causal": "text-generation", "masked": "fill-mask"}.get(self.kind, "text2text-generation"),
            dataset=dataset or self.task,
            metric=self.metric,
            score=_score(scores[PLUGIN]),
            controls={name: _score(scores[key]) for key, name in shown.items() if key in scores},
            n=scores[PLUGIN].rows,
            seeds=[self.seed],
            interval=f"{self.confidence:.0%} bootstrap interval over entities",
            mentions_linked=self.coverage.linked,
            entities=self.coverage.entities,
            model=self.model,
            note=str(self.coverage),
        )

    # ---- showing it ----------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return "\n".join([self.verdict, self.about, as_text(self), *self.footnotes])

    def to_markdown(self) -> str:
        """Return a section for a card or a page: the verdict, the tables, and how they were made."""
        notes = [f"- {note}" for note in self.footnotes]
        return "\n".join(["## Propagation", "", self.verdict, "", self.about, "", as_markdown(self), "", *notes]) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; a figure that is no number is ``None``."""
        return finite({"verdict": self.verdict} | asdict(self))

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the report as JSON, beside and renamed."""
        save_text(path, self.to_json())

    @property
    def about(self) -> str:
        """What was run on what."""
        files = f"{len(self.files)} file{'s' * (len(self.files) != 1)}"
        return f"{self.model} ({self.kind}) on {self.task}, {files}, with {self.knowledge_base}. {self.coverage}"

    @property
    def footnotes(self) -> list[str]:
        """How to read the tables."""
        notes = [*self.notes, *(f"Left out: {name}: {reason}" for name, reason in self.omitted.items())]
        return [*notes, f"Intervals and p: {self.test}, {self.resamples} draws, seed {self.seed}."]

    # ---- its parts -----------------------------------------------------------------------------------------------

    def _difference(self, contrast: Contrast) -> str:
        unit = " points of accuracy" if self.metric == "accuracy" else f" {self.metric}"
        bounds = interval(contrast.low, contrast.high, contrast.metric, "+")
        shown = f" ({100 * self.confidence:g} % interval {bounds})" if bounds != "-" else ""
        return f"{number(contrast.difference, contrast.metric, '+')}{unit}{shown}"

    def _is_better(self, contrast: Contrast) -> bool:
        if contrast.low is None or contrast.high is None:
            return False
        return contrast.low > 0 if VALUE_OF[self.metric].higher_is_better else contrast.high < 0

    def _beside_the_majority(self) -> str:
        gain = self.contrast(PLUGIN, "majority", part="hard")
        if gain is None or self._is_better(gain):
            return ""
        return f" It is not shown to beat the most frequent answer of each file: {self._difference(gain)}."

    def _ceiling(self) -> str:
        ceiling = self.contrast(PREPEND, NONE, part="hard")
        return "" if ceiling is None else f" The definition in the text brings {self._difference(ceiling)}."


def _score(figure: Figure) -> Score:
    return Score.of(figure.value, figure.low, figure.high)
