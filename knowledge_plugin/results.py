"""What a plugin was measured to do, beside its controls; ``evaluation.json`` of its folder.

The figures are words about a plugin, no part of it: one opens and works without them, and whatever is wrong with
them costs a warning.
"""

from __future__ import annotations

import json
import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from knowledge_plugin.config import (
    FORMAT_VERSION,
    LIBRARY_NAME,
    MAX_CONFIG_BYTES,
    check_bound,
    no_constant,
    no_duplicates,
    parse,
    parse_fields,
)
from knowledge_plugin.errors import ConfigError

RESULTS_NAME = "evaluation.json"
LEADERBOARD_NAME = ".eval_results/knowledge-plugin.yaml"  # where the Hub's leaderboards look
RESULT_FILES = (RESULTS_NAME, LEADERBOARD_NAME)
MAX_RESULTS = 1000

Control = Literal["none", "shuffled", "random", "text"]


@dataclass(frozen=True)
class Score:
    """A figure, and how far it may be off.

    Attributes:
        value: The figure, in the unit of its metric (accuracy: from 0 to 1).
        low: Lower end of its interval; :attr:`EvaluationResult.interval` says of which kind.
        high: Upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, low: float | None, high: float | None) -> Score:
        """Return a measured figure; a bootstrap's interval, which may lie beside it, is widened to hold it."""
        if low is None or high is None:
            return cls(value)
        return cls(value, min(low, value), max(high, value))

    def __post_init__(self) -> None:
        for name, number in asdict(self).items():
            if isinstance(number, int) and not isinstance(number, bool):
                object.__setattr__(self, name, float(number))
        parse_fields(self)
        if not all(math.isfinite(number) for number in asdict(self).values() if number is not None):
            raise ConfigError(f"score: expected finite numbers, found {self}.")
        if (self.low is None) != (self.high is None):
            raise ConfigError(f"score: expected both ends of an interval or none, found {self}.")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise ConfigError(f"score: expected a value within its interval, found {self}.")

    @classmethod
    def over(cls, values: Sequence[float]) -> Score:
        """Return the mean of several runs, with the lowest and the highest of them.

        Example:
            >>> Score.over([0.5, 0.75, 1.0])
            Score(value=0.75, low=0.5, high=1.0)
        """
        mean = statistics.fmean(values)
        # A sum that is rounded must not lead out of what was summed up.
        return cls(min(max(mean, min(values)), max(values)), min(values), max(values)) if len(values) > 1 else cls(mean)


@dataclass(frozen=True)
class EvaluationResult:
    """One metric on one dataset, on one frozen checkpoint: with the plugin, and with each control in its place.

    Attributes:
        task: The Hub's name of the task, for example ``"text-classification"``.
        dataset: What the dataset is called, for people.
        metric: For example ``"accuracy"``.
        score: With the plugin attached.
        controls: The same without a plugin (``"none"``), with the same vectors under other entities (``"shuffled"``),
            with random vectors (``"random"``), or with the description in the text (``"text"``).
        n: How many examples.
        seeds: Of the runs that the figures are means of.
        interval: What the ends of the scores are, for example ``"lowest and highest of the seeds"``.
        mentions_linked: How many mentions were linked.
        entities: How many entities were mentioned.
        unseen_entities: How many of them are mentioned in no text that anything was trained on.
        model: The frozen checkpoint, for people.
        dataset_id: The dataset on the Hub, ``"user/name"``.
        dataset_revision: Its commit.
        split: Its split.
        task_id: Which task of a benchmark on the Hub. With it, the score goes to the leaderboard of ``dataset_id``.
        note: One sentence more.

    Example:
        >>> result = EvaluationResult("text-classification", "cities", "accuracy", Score(0.9), {"none": Score(0.3)})
        >>> result.controls["none"].value
        0.3
    """

    task: str
    dataset: str
    metric: str
    score: Score
    controls: dict[Control, Score] = field(default_factory=dict)
    n: int | None = None
    seeds: list[int] = field(default_factory=list)
    interval: str | None = None
    mentions_linked: int | None = None
    entities: int | None = None
    unseen_entities: int | None = None
    model: str | None = None
    dataset_id: str | None = None
    dataset_revision: str | None = None
    split: str | None = None
    task_id: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        parse_fields(self)
        for name in ("task", "dataset", "metric"):
            if not getattr(self, name).strip():
                raise ConfigError(f"{name}: expected a name, found {getattr(self, name)!r}.")
        for name in ("n", "mentions_linked", "entities", "unseen_entities"):
            if getattr(self, name) is not None:
                check_bound(name, getattr(self, name), 2**53, lower=0)
        check_bound("number of seeds", len(self.seeds), 10_000, lower=0)
        if self.task_id is not None and self.dataset_id is None:
            raise ConfigError("task_id: expected a dataset_id beside it: the benchmark whose task it is.")


def write_results(folder: Path, results: Sequence[EvaluationResult]) -> None:
    """Write ``evaluation.json``, and an entry for each leaderboard of the Hub that is named; nothing for no results."""
    if not results:
        return
    head = {"library_name": LIBRARY_NAME, "format_version": FORMAT_VERSION}
    data = head | {"results": [asdict(result) for result in results]}
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / RESULTS_NAME).write_text(text + "\n", encoding="utf-8")
    entries = [
        EvalResultEntry(
            dataset_id=result.dataset_id,
            task_id=result.task_id,
            value=result.score.value,
            dataset_revision=result.dataset_revision,
            notes=f"frozen {result.model} with a knowledge plugin" if result.model else "with a knowledge plugin",
        )
        for result in results
        if result.dataset_id is not None and result.task_id is not None
    ]
    if entries:
        (folder / LEADERBOARD_NAME).parent.mkdir(exist_ok=True)
        listed = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
        (folder / LEADERBOARD_NAME).write_text(listed, encoding="utf-8")


def read_results(folder: Path) -> list[EvaluationResult]:
    """Return what ``evaluation.json`` says; nothing, with a warning, if it cannot be read."""
    path = folder / RESULTS_NAME
    try:
        if not path.is_file():
            return []
        if (size := path.stat().st_size) > MAX_CONFIG_BYTES:
            raise ConfigError(f"it has {size} bytes; at most {MAX_CONFIG_BYTES} are read.")
        data = json.loads(path.read_bytes(), object_pairs_hook=no_duplicates, parse_constant=no_constant)
        found: Any = data.get("results") if isinstance(data, dict) else None
        results: list[EvaluationResult] = parse(list[EvaluationResult], found, "results")
        check_bound("number of results", len(results), MAX_RESULTS, lower=0)
        return results
    except (OSError, ValueError, RecursionError) as error:  # a ConfigError is a ValueError
        warnings.warn(f"{path}: these results are left out: {error}", stacklevel=2)
        return []
