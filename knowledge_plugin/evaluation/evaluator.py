"""A plugin beside its controls, on the very same frozen checkpoint, the same rows and the same batches."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.arguments import check_plugin
from knowledge_plugin.config import Form
from knowledge_plugin.errors import EvaluationError, KnowledgePluginError
from knowledge_plugin.evaluation.bootstrap import Bootstrap
from knowledge_plugin.evaluation.conditions import (
    CONTROLS,
    DEFAULT_CONTROLS,
    PLUGIN,
    ControlName,
    find_conditions,
    key_dim_of,
)
from knowledge_plugin.evaluation.controls import shuffled, zero
from knowledge_plugin.evaluation.metrics import Metric, MetricFunction, find_metric
from knowledge_plugin.evaluation.probe import Probe, linear_probe
from knowledge_plugin.evaluation.readings import (
    TEXT_TEMPLATE,
    TEXT_TEMPLATE_OF_WORDS,
    entities_of,
    linked_entities,
    read_described,
    read_linked,
    read_plain,
)
from knowledge_plugin.evaluation.report import ALL, Comparison, Report, Result
from knowledge_plugin.evaluation.rows import clusters_of, read_rows
from knowledge_plugin.evaluation.running import Run, run_conditions
from knowledge_plugin.evaluation.surroundings import TEST, name_of, versions
from knowledge_plugin.evaluation.tasks import ClassTask, Task, find_task, predicts_words, write_answers
from knowledge_plugin.injection.attachment import Attachment, attachments
from knowledge_plugin.injection.hook import Hook, find_hooks
from knowledge_plugin.injection.tokenizer import base_tokenizer
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking import Linker
from knowledge_plugin.modes import undisturbed
from knowledge_plugin.plugin import KnowledgePlugin


def evaluate(
    plugin: KnowledgePlugin,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Iterable[Mapping[str, Any]],
    metric: str | MetricFunction = "accuracy",
    controls: Sequence[ControlName] | None = None,
    *,
    seen: Iterable[str] | None = None,
    linker: Linker | None = None,
    form: Form | None = None,
    batch_size: int = 32,
    max_length: int | None = None,
    probe: bool | None = None,
    higher_is_better: bool = True,
    dataset_name: str | None = None,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
    progress: bool = True,
) -> Report:
    """Measure what a plugin brings to a frozen model, beside controls that cost the same and know nothing.

    Every condition runs the same checkpoint without dropout over the same rows in the same batches. Rows are linked
    and tokenized once: the controls see the plugin's very token ids, with other vectors behind them. Afterwards the
    model is what it was. A plugin that is attached already stays so, and its own linker and form are used; with
    another plugin attached, there would be nothing to compare with, and this is refused.

    What is asked follows from the model's head. A classifier (or a regression head) gives one answer for each text. A
    masked language model is asked for the words of the linked mentions, all of them masked; a decoder for every word of
    the text; the same words under each condition. An encoder-decoder is asked for the target in ``label``.

    Where labels are texts, a language model is asked for them alone: ``{"text": "Ada lives in", "label": "Graz"}``. A
    decoder reads the label behind the text, with a blank between unless there is one, and a text that is too long is
    cut at its beginning; of a masked language model the label stands where its text has the mask token, as many masks
    as the label has tokens. Entities are linked and described that ``text`` mentions, never those of a label.

    Controls go through the plugin's own mapping. One that has learned with other vectors is a plugin of its own: train
    it with ``evaluation.shuffled(kb)``, evaluate it, and look at its ``"plugin"`` row.

    Args:
        plugin: The plugin.
        model: The frozen checkpoint.
        tokenizer: Its tokenizer.
        dataset: Rows with ``text`` and ``label``, perhaps ``text_pair`` and ``mentions``. For a classifier a label is
            the number of a class, or 0 and 1 for each class where a text may have several; for an encoder-decoder it is
            a text; for other language models it may be one, and what else it is they do not look at. Mentions that are
            given count the characters of ``text``.
        metric: ``"accuracy"``, ``"micro-f1"`` (the same as accuracy where each text has one label), ``"hits@5"`` or
            another k, ``"loss"`` (cross-entropy for each answer or word), ``"perplexity"`` (its exponential), or a
            function of predictions and labels, both arrays ``[n]`` (or ``[n, classes]``), that gives a number.
        controls: What to compare with; ``None`` stands for the first four, of which one that cannot be done is left
            out and the report says why. Whatever else is given must be possible.

            - ``"none"``: nothing attached.
            - ``"shuffled"``: the same vectors under other entities.
            - ``"random"``: random vectors of the same lengths.
            - ``"text"``: nothing attached, and the descriptions of the linked entities put before the text, as
              ``"label: description "`` (``"description "`` where words are asked for, which a label would give away),
              cut where the text would no longer fit.
            - ``"untrained"``: a mapping of the same shape with fresh weights.
            - ``"zero"``: zero vectors, so that every entity is the same.

        seen: Ids of the entities that the mapping was trained on. Then rows that mention any of them, and rows that
            mention others alone, have figures of their own.
        linker: As in :meth:`KnowledgePlugin.attach`.
        form: As in :meth:`KnowledgePlugin.attach`.
        batch_size: Rows per forward pass.
        max_length: Tokens at which rows are truncated; ``None`` for the tokenizer's own.
        probe: Also try how well a logistic regression reads an entity's label off its vector, with scikit-learn;
            ``None`` does if it is installed and each text has one label.
        higher_is_better: Of a metric that is a function.
        dataset_name: For the report; ``None`` takes the name that a dataset of ``datasets`` has.
        seed: Of controls, bootstrap and probe.
        resamples: How many draws the bootstrap makes; a metric that is a function is called once for each of them,
            each condition and each part of the rows.
        confidence: Of the intervals.
        progress: Show a bar on stderr.

    Returns:
        The report. Its first line says whether there is a gain: the plugin against shuffled vectors, with an interval
        over entities. A row belongs to the first entity that is linked in it.

    Raises:
        EvaluationError: An unknown metric or control; an empty dataset, rows of another form, or labels that the head
            has not; an answer that does not fit into what the model reads; a model without a head for it; another
            plugin is attached; a control that cannot be done.
        MissingDependencyError: ``probe=True`` without scikit-learn.

    Example:
        >>> report = evaluate(plugin, model, tokenizer, rows, seen=trained_on)  # doctest: +SKIP
        >>> print(report)  # doctest: +SKIP
        >>> report.save("evaluation.json"); report.plot("evaluation.png")  # doctest: +SKIP
    """
    check_plugin(plugin, EvaluationError)
    asked = _Asked(controls, metric, higher_is_better, batch_size, resamples, confidence)
    if probe and find_spec("sklearn") is None:
        linear_probe(np.zeros((0, 1)), np.zeros(0))  # says what to install before anything is run
    base = base_tokenizer(tokenizer)
    with _attached(plugin, model, base, linker, form) as (attachment, hook), undisturbed(model):
        known = _known_ids(seen, plugin.knowledge_base)
        rows = write_answers(model, base, read_rows(dataset, attachment.source))
        readings = {"plain": read_plain(rows, base, max_length), "linked": read_linked(rows, attachment, max_length)}
        entities = entities_of(rows)
        if attachment.source.ids:  # then what truncation has left is all that counts
            entities = linked_entities(readings["linked"], attachment.source)
        omitted: dict[str, str] = {}
        notes: list[str] = []
        template = None
        if "text" in asked.controls and not any(entities):
            omitted["text"] = "no entity is linked."
        elif "text" in asked.controls:
            template = TEXT_TEMPLATE_OF_WORDS if predicts_words(model) else TEXT_TEMPLATE
            with asked.may_be_left_out("text", omitted):
                readings["text"], cut = read_described(rows, base, plugin.knowledge_base, template, max_length)
                if cut:
                    notes.append(f"Of {cut} rows, the descriptions did not fit before the text and were cut.")
        task = find_task(model, base, rows, readings)
        asked.check(task)
        if "shuffled" in asked.controls and len(plugin.knowledge_base) < 2:
            with asked.may_be_left_out("shuffled", omitted):
                shuffled(plugin.knowledge_base)  # says why
        if (keys := key_dim_of(plugin)) >= plugin.knowledge_base.config.dim:
            for control in [name for name in ("shuffled", "random", "zero") if name in asked.controls]:
                with asked.may_be_left_out(control, omitted):
                    zero(plugin.knowledge_base, key_dim=keys)  # says why
        possible = [control for control in asked.controls if control not in omitted]
        conditions = find_conditions(possible, plugin, hook, seed)
        runs = run_conditions(conditions, task, readings, asked.metric, hook, batch_size=batch_size, progress=progress)
        members = {ALL: np.ones(len(rows), dtype=bool)} | _parts(entities, known)
        results, comparisons, units = _compare(runs, members, entities, asked, seed)
        different = {entity for found in entities for entity in found}
        report = Report(
            task=task.name,
            dataset=dataset_name or getattr(getattr(dataset, "info", None), "dataset_name", None),
            metric=asked.name,
            higher_is_better=asked.higher_is_better,
            model=name_of(model),
            knowledge_base=plugin.knowledge_base.config.name,
            form=attachment.form if attachment.source.ids else plugin.config.injection.method,
            results=results,
            comparisons=comparisons,
            rows=len(rows),
            rows_with_mentions=sum(map(bool, entities)),
            mentions_linked=sum(map(len, entities)),
            entities=len(different),
            entities_seen=None if known is None else len(different & known),
            entities_unseen=None if known is None else len(different - known),
            clusters=units,
            probe=_probe(probe, task, entities, plugin.knowledge_base, omitted, asked, seed),
            omitted=omitted,
            notes=tuple(notes),
            test=TEST,
            confidence=confidence,
            resamples=resamples,
            seed=seed,
            text_template=template if "text" in runs else None,
            seconds={name: run.seconds for name, run in runs.items()},
            tokens_per_second={name: run.tokens / run.seconds for name, run in runs.items() if run.seconds > 0},
            versions=versions(),
        )
    if not different:
        warnings.warn(report.verdict, stacklevel=2)
    return report


# ---- what is asked ---------------------------------------------------------------------------------------------------


class _Asked:
    """The arguments that can be wrong by themselves, checked before anything else happens."""

    def __init__(
        self,
        controls: Sequence[str] | None,
        metric: str | MetricFunction,
        higher_is_better: bool,
        batch_size: int,
        resamples: int,
        confidence: float,
    ) -> None:
        self.explicit = controls is not None
        wanted = DEFAULT_CONTROLS if controls is None else ([controls] if isinstance(controls, str) else controls)
        self.controls = list(dict.fromkeys(name for name in wanted if name != PLUGIN))  # which is always there
        if unknown := [name for name in self.controls if name not in CONTROLS]:
            raise EvaluationError(f"controls: expected some of {', '.join(CONTROLS)}, found {unknown[0]!r:.80}.")
        self.metric = metric if callable(metric) else find_metric(metric)
        named = self.metric if isinstance(self.metric, Metric) else None
        self.name = named.name if named else str(getattr(metric, "__name__", type(metric).__name__))
        self.higher_is_better = named.higher_is_better if named else higher_is_better
        for name, value in (("batch_size", batch_size), ("resamples", resamples)):
            if value < 1:
                raise EvaluationError(f"{name}: expected a number from 1 up, found {value}.")
        if not 0 < confidence < 1:
            raise EvaluationError(f"confidence: expected a number between 0 and 1, such as 0.95, found {confidence}.")
        self.batch_size, self.resamples, self.confidence = batch_size, resamples, confidence

    def check(self, task: Task) -> None:
        """Hold the metric against what is asked."""
        if not isinstance(self.metric, Metric):
            return
        if task.is_number:
            raise EvaluationError(
                f"{self.name}: the model's head gives one number, and no class. Give a function, such as "
                "metric=lambda predictions, labels: float(np.corrcoef(predictions, labels)[0, 1])"
            )
        if task.several_labels and not self.metric.several_labels:
            raise EvaluationError(f"{self.name}: expected one label for each text, found several. Type: 'micro-f1'")

    @contextmanager
    def may_be_left_out(self, control: str, omitted: dict[str, str]) -> Iterator[None]:
        """Within, an error leaves out a control that nobody has asked for by name."""
        try:
            yield
        except KnowledgePluginError as error:
            if self.explicit:
                raise
            omitted[control] = str(error)


# ---- the model, and back ---------------------------------------------------------------------------------------------


@contextmanager
def _attached(
    plugin: KnowledgePlugin,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    linker: Linker | None,
    form: Form | None,
) -> Iterator[tuple[Attachment, Hook]]:
    """Attach the plugin, or take it as it is attached; nothing else may be."""
    there = attachments(model)
    if not there:
        with plugin.attach(model, tokenizer, linker=linker, form=form) as attachment:
            yield attachment, find_hooks(model)[0]
        return
    hooks = find_hooks(model)
    if len(hooks) > 1 or hooks[0].mapping is not plugin.mapping:
        other = next(a for a, hook in zip(there, hooks, strict=True) if hook.mapping is not plugin.mapping)
        raise EvaluationError(
            f"another plugin is attached to the model, {other.name!r}: what one of them brings cannot be told from "
            "what the other does. Detach it first: attachment.detach()"
        )
    if linker is not None or form not in (None, there[0].form):
        raise EvaluationError(
            "the plugin is attached already, with a linker and a form of its own: linker= and form= would change "
            "nothing. Leave them out, or type: plugin.detach(model)"
        )
    if not there[0].source.enabled:
        raise EvaluationError("the plugin is switched off here. Leave the block `with attachment.disabled():` first.")
    yield there[0], hooks[0]


# ---- figures ---------------------------------------------------------------------------------------------------------


def _known_ids(seen: Iterable[str] | None, kb: KnowledgeBase) -> frozenset[str] | None:
    if seen is None:
        return None
    known = frozenset([seen] if isinstance(seen, str) else seen)
    if known and not any(entity_id in kb for entity_id in known):
        raise EvaluationError(
            f"seen: expected ids of entities, found {next(iter(known))!r:.200} and none that is in the knowledge base; "
            f"its ids look like {kb.entity_id(0)!r:.200}."
        )
    return known


def _parts(entities: Sequence[Sequence[str]], known: frozenset[str] | None) -> dict[str, np.ndarray]:
    """Return which rows mention an entity that was seen in training, and which mention others alone."""
    if known is None:
        return {}
    any_seen = np.array([any(entity in known for entity in found) for found in entities])
    any_linked = np.array([bool(found) for found in entities])
    parts = {"seen": any_seen, "unseen": any_linked & ~any_seen}
    return {part: members for part, members in parts.items() if members.any()}


def _compare(
    runs: Mapping[str, Run],
    parts: Mapping[str, np.ndarray],
    entities: Sequence[Sequence[str]],
    asked: _Asked,
    seed: int,
) -> tuple[tuple[Result, ...], tuple[Comparison, ...], int]:
    results: list[Result] = []
    comparisons: list[Comparison] = []
    units = 0
    for part, members in parts.items():
        clusters = clusters_of([found for found, member in zip(entities, members, strict=True) if member])
        number = int(clusters.max()) + 1
        units = number if part == ALL else units
        outcomes = {name: run.outcomes(members, clusters) for name, run in runs.items()}
        options: dict[str, Any] = {"resamples": asked.resamples, "confidence": asked.confidence, "seed": seed}
        bootstrap = Bootstrap(outcomes, number, **options)
        results += [Result(name, part, *bootstrap.interval(name), int(members.sum())) for name in runs]
        comparisons += [Comparison(n, part, *bootstrap.difference(PLUGIN, n)) for n in runs if n != PLUGIN]
    return tuple(results), tuple(comparisons), units


def _probe(
    wanted: bool | None,
    task: Task,
    entities: Sequence[Sequence[str]],
    kb: KnowledgeBase,
    omitted: dict[str, str],
    asked: _Asked,
    seed: int,
) -> Probe | None:
    if wanted is False:
        return None
    try:
        if not isinstance(task, ClassTask) or task.several_labels or task.is_number:
            raise EvaluationError("the probe needs a classifier, and one label for each text.")
        found: dict[str, Counter[int]] = {}
        for names, label in zip(entities, task.labels.tolist(), strict=True):
            if names:
                found.setdefault(names[0], Counter())[label] += 1
        vectors = kb.vectors(kb.rows(list(found))).numpy()
        labels = np.array([counts.most_common(1)[0][0] for counts in found.values()])
        return linear_probe(vectors, labels, seed=seed, resamples=asked.resamples, confidence=asked.confidence)
    except KnowledgePluginError as error:
        if wanted:
            raise
        omitted["probe"] = str(error)
        return None
