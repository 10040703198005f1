"""Does knowledge propagate? An entity is told of once; other sentences about it are asked for."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from functools import partial

from huggingface_hub.utils import tqdm
from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.building.embedders import Embedder
from knowledge_plugin.config import Form
from knowledge_plugin.errors import EvaluationError, KnowledgeBaseError
from knowledge_plugin.evaluation.conditions import Condition, find_conditions, under
from knowledge_plugin.evaluation.propagation.conditions import (
    ANOTHER,
    CONDITIONS,
    PREPEND,
    WITH_VECTORS,
    as_context,
    ask,
    definitions_by_file,
    others,
)
from knowledge_plugin.evaluation.propagation.entities import Resolved, resolve
from knowledge_plugin.evaluation.propagation.figures import Drawing, figures_of
from knowledge_plugin.evaluation.propagation.measures import Counts, count
from knowledge_plugin.evaluation.propagation.probes import EntityProbe
from knowledge_plugin.evaluation.propagation.reading import ProbeSet
from knowledge_plugin.evaluation.propagation.report import PropagationReport
from knowledge_plugin.evaluation.propagation.spans import SpanScorer
from knowledge_plugin.evaluation.propagation.specificity import Bystanders
from knowledge_plugin.evaluation.report import FEW_CLUSTERS
from knowledge_plugin.evaluation.surroundings import TEST, name_of, versions
from knowledge_plugin.injection.attachment import Attachment, attachments
from knowledge_plugin.injection.hook import find_hooks
from knowledge_plugin.injection.tokenizer import base_tokenizer
from knowledge_plugin.linking.mention import Mention
from knowledge_plugin.modes import undisturbed
from knowledge_plugin.plugin import KnowledgePlugin

_HOW = {
    "causal": "A decoder reads whole sentences; only the tokens in the blank count, each after those before it.",
    "masked": "A masked language model fills as many masks as the words have tokens, from left to right.",
    "seq2seq": "The model writes the words between its first two sentinels, after it has read the sentence.",
}


def propagation(
    plugin: KnowledgePlugin,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    probes: ProbeSet,
    *,
    embedder: Embedder | None = None,
    edits: int | None = 10,
    form: Form | None = None,
    batch_size: int = 32,
    max_length: int | None = None,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
    progress: bool = True,
) -> PropagationReport:
    """Measure whether a frozen language model draws conclusions from what is plugged in about entities new to it.

    The evaluation of Onoe et al. ("Can LMs Learn New Entities from Descriptions?", ACL 2023), for plugins. Conditions
    on the same checkpoint: nothing; the definition put before the sentence, which is the ceiling; another entity's
    definition there; the plugin; the plugin with shuffled and with random vectors. See :class:`SpanScorer
    <knowledge_plugin.evaluation.propagation.SpanScorer>` for how words are scored. Afterwards the model is what it was.

    Of Entity Inferences: accuracy among the options, and the probability of the right one; beside them the most
    frequent answer of each file, and chance. Of ECBD: perplexity of the words in the blank, by the mean of each probe.
    Both are also given for *easy* probes, whose answer the definition says in so many words, and for the others.

    Specificity: on rows about popular entities (ECBD) or other rows of the same file (Entity Inferences), what changes.
    Every option is scored on its own tokens there, too: the published code reuses the first option's for GPT models,
    which conditions the others wrongly from their second token on.

    Args:
        plugin: The plugin; it must not be attached.
        model: The frozen checkpoint: causal, masked, or encoder-decoder with T5's sentinels.
        tokenizer: Its tokenizer.
        probes: Of :func:`read_probes <knowledge_plugin.evaluation.propagation.read_probes>`, or your own.
        embedder: Makes vectors of entities that the knowledge base lacks, in a copy of it, from their definitions: the
            one that made the others. Without it they are left out and counted.
        edits: Before each sentence about others, this many definitions are tried, drawn at random; ``None`` for all.
        form: As in :meth:`KnowledgePlugin.attach`.
        batch_size: Sequences per forward pass.
        max_length: Tokens that a text may have; ``None`` for the tokenizer's own. Definitions are cut, sentences not.
        seed: Of controls, of which definitions are drawn, and of the bootstrap.
        resamples: Draws of the bootstrap over entities.
        confidence: Of the intervals.
        progress: Show a bar on stderr.

    Returns:
        The report. Its first line says whether knowledge propagates.

    Raises:
        EvaluationError: The model is no language model, or something is attached to it; a sentence is longer than it
            reads; an argument out of bounds; an embedder that gives no vectors of these entities.
        KnowledgeBaseError: The embedder's vectors do not fit the knowledge base.

    Example:
        >>> probes = read_probes("entity_knowledge_propagation", "ecbd")  # doctest: +SKIP
        >>> report = propagation(plugin, model, tokenizer, probes, embedder=TextEmbedder())  # doctest: +SKIP
        >>> print(report)  # doctest: +SKIP
    """
    _check(batch_size=batch_size, resamples=resamples, edits=edits, max_length=max_length)
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise EvaluationError(f"seed: expected a whole number from 0 up, found {seed!r:.80}.")
    if not 0 < confidence < 1:
        raise EvaluationError(f"confidence: expected a number between 0 and 1, such as 0.95, found {confidence}.")
    if not isinstance(probes, ProbeSet):
        raise EvaluationError(f"probes: expected read_probes(...) or a ProbeSet, found {type(probes).__name__}.")
    if embedder is not None and not callable(embedder):
        raise EvaluationError(f"embedder: expected TextEmbedder() or another one, found {embedder!r:.80}.")
    if there := attachments(model):
        raise EvaluationError(f"{there[0].name!r} is attached to the model. Type: attachment.detach()")
    base = base_tokenizer(tokenizer)
    scorer = SpanScorer(model, base, batch_size=batch_size, max_length=max_length)
    resolved = resolve(plugin, probes.probes, embedder, scorer.kind == "causal")
    drawing = Drawing(resamples, confidence, seed)
    with resolved.plugin.attach(model, base, form=form) as attachment, undisturbed(model):
        runs = _Runs(probes, resolved, attachment, scorer, edits, seed)
        runs.run(progress)
    notes = [_HOW[scorer.kind]]
    if runs.cut:
        notes.append(f"In {runs.cut} texts, the definition did not fit before the sentence and was cut.")
    linked = [found is not None and bool(places) for found, places in zip(resolved.ids, resolved.mentions, strict=True)]
    figures, contrasts = figures_of(probes.task, probes.probes, runs.counts, linked, drawing)
    if 1 < resolved.coverage.entities < FEW_CLUSTERS:
        notes.append(f"Only {resolved.coverage.entities} entities: intervals over so few are too narrow.")
    report = PropagationReport(
        task=probes.task,
        model=name_of(model),
        kind=scorer.kind,
        knowledge_base=plugin.knowledge_base.config.name,
        form=attachment.form if runs.in_text else plugin.config.injection.method,
        figures=figures,
        contrasts=contrasts,
        specificity=runs.bystanders.compare(drawing) if runs.bystanders else (),
        coverage=resolved.coverage,
        files=_files(probes.probes),
        omitted=runs.omitted,
        notes=tuple(notes),
        test=TEST,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        versions=versions(),
    )
    if resolved.coverage.linked < resolved.coverage.rows:
        warnings.warn(_loudly(report), stacklevel=2)
    return report


class _Runs:
    """The model over all probes, under one condition after the other, while the plugin is attached to it.

    Attributes:
        counts: By condition and metric, numbers that add up.
        omitted: What was left out, and why.
        cut: In how many texts a definition was cut.
    """

    def __init__(
        self,
        probes: ProbeSet,
        resolved: Resolved,
        attachment: Attachment,
        scorer: SpanScorer,
        edits: int | None,
        seed: int,
    ) -> None:
        (self._hook,) = find_hooks(attachment.model)
        self.in_text = bool(attachment.source.ids)
        self._probes, self._resolved, self._scorer = probes.probes, resolved, scorer
        self._tokenizer = attachment.tokenizer if self.in_text else None
        self._makers = find_conditions(("none", "shuffled", "random"), resolved.plugin, self._hook, seed)
        self.bystanders = Bystanders(probes, resolved, attachment.source.linker, edits, seed, self.in_text)
        self.omitted: dict[str, str] = {}
        self._without_bystanders = {ANOTHER}
        if not self.bystanders:
            self.omitted["specificity"] = "there are no sentences about others, or nothing to inject into them."
        elif not self.in_text and probes.task == "entity-inferences":
            self._without_bystanders |= set(WITH_VECTORS)
            self.omitted["specificity of the plugin"] = (
                "its method looks entities up by itself, and other rows are of entities that are there to be found."
            )
        self._contexts = _contexts(self._probes, seed, self.omitted)
        self.counts: dict[str, Counts] = {}
        self.cut = 0

    def run(self, progress: bool) -> None:
        """Run under every condition that is possible."""
        conditions = [name for name in CONDITIONS if name not in self.omitted]
        for name in (bar := tqdm(conditions, disable=not progress, leave=False)):  # on stderr
            bar.set_description(f"propagation: {name}")
            try:
                condition = self._makers[name]() if name in self._makers else Condition("plain")
            except KnowledgeBaseError as error:
                self.omitted[name] = str(error)
                continue
            measure = partial(self._measure, tokenizer=self._tokenizer if condition.way == "linked" else None)
            mentions = self._resolved.mentions if condition.way == "linked" else ()
            with under(self._hook, condition):
                self.counts[name] = measure(self._probes, self._contexts.get(name), mentions)
                if self.bystanders and name not in self._without_bystanders:
                    self.bystanders.measure(name, measure)

    def _measure(
        self,
        probes: Sequence[EntityProbe],
        contexts: Sequence[str] | None,
        mentions: Sequence[Sequence[Mention]],
        *,
        tokenizer: PreTrainedTokenizerBase | None,
    ) -> Counts:
        asked = ask(probes, contexts, mentions)
        scores = self._scorer(asked.filled, tokenizer)
        self.cut += scores.cut
        return count(probes, asked, scores)


def _contexts(probes: Sequence[EntityProbe], seed: int, omitted: dict[str, str]) -> dict[str, list[str]]:
    """Return what stands before each probe, by condition."""
    rng, definitions = random.Random(seed), definitions_by_file(probes)
    foreign = [others(probe, definitions, rng, 1) for probe in probes]
    found = {PREPEND: [as_context(probe.definition) for probe in probes]}
    if all(foreign):
        return found | {ANOTHER: [as_context(texts[0]) for texts in foreign]}
    omitted[ANOTHER] = "a file has one entity alone, or one definition for all."
    return found


def _files(probes: Sequence[EntityProbe]) -> dict[str, int]:
    found: dict[str, int] = {}
    for probe in probes:
        found[probe.file] = found.get(probe.file, 0) + 1
    return found


def _loudly(report: PropagationReport) -> str:
    missing = report.coverage.missing
    names = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
    shown = f" Without a vector: {names}." if missing else ""
    return f"{report.coverage}{shown} Rows without an entity are read as without a plugin, and count."


def _check(**numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None and (type(value) is not int or value < 1):
            raise EvaluationError(f"{name}: expected a number from 1 up, found {value!r:.80}.")
