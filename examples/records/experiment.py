"""Knowledge from a generative model, measured against the rule, and then with a frozen reader."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments, set_seed

from examples.methods.world import PROPERTIES, make_world, questions
from examples.records.knowledge_model import make_tokenizer, train_knowledge_model
from examples.records.measures import Figure, auc, share
from examples.records.world import (
    QUERIES,
    Resident,
    Rule,
    asked_records,
    is_right,
    is_told,
    make_residents,
    make_rule,
    property_of,
    true_records,
    written_records,
)
from knowledge_plugin import KnowledgeBase, KnowledgePlugin, MapTuningTrainer, evaluate
from knowledge_plugin.building import (
    Record,
    entities_from_records,
    filter_records,
    generate_records,
    judge_records,
)
from knowledge_plugin.injection.word_vectors import WordEncoder

CONDITIONS = ("none", "plugin", "shuffled", "random", "text")
INFERENCE = ("inference",)
_GENERATION = {"max_length": None}


@dataclass(frozen=True)
class Settings:
    """How much of everything; the defaults are the example's, smaller ones serve the tests."""

    people: int = 600
    held_out: int = 120
    steps: int = 800
    width: int = 64
    at_least: float = 0.8
    thresholds: tuple[float, ...] = (0.5, 0.7, 0.8, 0.9)
    tuning_epochs: float = 3
    tuning_rate: float = 3e-3
    tokens: int = 4
    resamples: int = 1000


@dataclass(frozen=True)
class Outcome:
    """What one seed came to.

    Args:
        right: Shares of generated inferences that are what follows by the rule: all, told and untold, kept by filters.
        judged: Area under the curve of plausibility against the rule, by judge and by which records.
        directions: Shares right by which field is asked for, of a model of field masking and one of a fixed direction.
        reader: Accuracy of the frozen reader, by what it is given and by whether the answer was told.
        generated: Entities of the knowledge base whose facts are marked as generated, and all of them.
        example: What one entity says of its facts.
    """

    right: Mapping[str, Figure]
    judged: Mapping[str, Figure]
    directions: Mapping[str, Mapping[str, Figure]]
    reader: Mapping[str, Mapping[str, Figure]]
    generated: tuple[int, int]
    example: tuple[str, ...]


def run(
    settings: Settings,
    seed: int,
    make_reader: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]],
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Do all of it for one seed.

    Args:
        settings: How much of everything.
        seed: Of the rule, the people, all weights and all that is drawn.
        make_reader: Returns the frozen language model and its tokenizer, as of ``examples.methods.reader``.
        say: Is told what goes on.
    """
    rule = make_rule(seed)
    residents = make_residents(settings.people, rule, seed)
    seen, unseen = residents[settings.held_out :], residents[: settings.held_out]
    lab = Lab(settings, seed, rule, unseen)
    written = written_records(seen, rule, seed)
    say(f"training a knowledge model on {len(written)} records by field masking")
    model = lab.train(written)
    say("asking it about people of whom no record tells")
    generated = lab.ask(model, asked_records(unseen), INFERENCE, "field")
    evidence = judge_records(model, lab.tokenizer, generated, name="example", batch_size=120, progress=False)
    judged = {"field": generated, "evidence": evidence}
    say("training a model of a fixed direction, as long")
    fixed = lab.train(written, INFERENCE)
    directions = {"field masking": lab.directions(model), "fixed direction": lab.directions(fixed)}
    say("tuning a mapping of a frozen reader on other people")
    desk = Desk(settings, seed, rule, make_reader(), unseen)
    kb = desk.knowledge_base(generated)
    return Outcome(
        right=lab.right(generated, judged),
        judged=lab.judged(generated, evidence)
        | {f"written, {judge}": lab.judge_written(model, judge) for judge in ("field", "evidence")},
        directions=directions,
        reader=desk.ask(sources(generated, judged, unseen, settings)),
        generated=(kb.count_generated(), len(kb)),
        example=next(iter(kb)).generated,
    )


def sources(
    generated: Sequence[Record], judged: Mapping[str, Sequence[Record]], unseen: Sequence[Resident], settings: Settings
) -> dict[str, Sequence[Record]]:
    """Return what the reader is given: the truth, all that was generated, and what filters leave of it."""
    kept = {f"kept by {judge}": filter_records(some, settings.at_least).kept for judge, some in judged.items()}
    return {"truth": true_records(unseen), "generated": generated} | kept


class Lab:
    """Where knowledge models are trained and asked."""

    def __init__(self, settings: Settings, seed: int, rule: Rule, unseen: Sequence[Resident]) -> None:
        self.settings, self.seed, self.rule, self.unseen = settings, seed, rule, unseen
        self.tokenizer = make_tokenizer()
        self.truth = true_records(unseen)
        self.told = [is_told(resident, of, rule) for resident in unseen for of in PROPERTIES]

    def train(self, records: Sequence[Record], ask: Sequence[str] | None = None) -> PreTrainedModel:
        """Train a knowledge model."""
        steps, width = self.settings.steps, self.settings.width
        return train_knowledge_model(self.tokenizer, records, steps=steps, seed=self.seed, ask=ask, width=width)

    def ask(
        self, model: PreTrainedModel, records: Sequence[Record], ask: Sequence[str], judge: Any = None
    ) -> list[Record]:
        """Ask a model for a field."""
        return generate_records(
            model, self.tokenizer, records, ask, name="example", judge=judge, batch_size=120, seed=self.seed,
            progress=False, generation=_GENERATION | {"max_new_tokens": 16 if "context" in ask else 8},
        )  # fmt: skip

    def share(self, right: Sequence[bool], people: Sequence[str]) -> Figure:
        """Return a share with its interval over people."""
        return share(right, people, self.seed, self.settings.resamples)

    def right(self, generated: Sequence[Record], judged: Mapping[str, Sequence[Record]]) -> dict[str, Figure]:
        """Compare what was generated with the rule, all of it and what is left by filters."""
        told = [record for record, is_known in zip(generated, self.told, strict=True) if is_known]
        untold = [record for record, is_known in zip(generated, self.told, strict=True) if not is_known]
        groups: dict[str, Sequence[Record]] = {"all": generated, "told": told, "untold": untold}
        for judge, records in judged.items():
            for at_least in self.settings.thresholds:
                groups[f"{judge}, {at_least} at least"] = filter_records(records, at_least).kept
        return {
            name: self.share([is_right(record, self.rule) for record in some], [str(r.context) for r in some])
            for name, some in groups.items()
            if some
        }

    def judged(self, by_field: Sequence[Record], by_evidence: Sequence[Record]) -> dict[str, Figure]:
        """Say how well plausibilities tell generated records that are right from those that are not."""
        return {
            f"generated, {name}": self._auc(records)
            for name, records in (("field", by_field), ("evidence", by_evidence))
        }

    def judge_written(self, model: PreTrainedModel, judge: Any = "field") -> Figure:
        """Say how well a model tells right from wrong of people it does not know, where records of such were judged."""
        every = written_records(self.unseen, self.rule, self.seed + 1, wrong_share=1.0)
        return self._auc(judge_records(model, self.tokenizer, every, judge, name="x", batch_size=120, progress=False))

    def _auc(self, records: Sequence[Record]) -> Figure:
        judged = [record for record in records if record.plausibility is not None]
        return auc(
            [is_right(record, self.rule) for record in judged], [record.plausibility or 0.0 for record in judged],
            [str(record.context) for record in judged], self.seed, self.settings.resamples,
        )  # fmt: skip

    def directions(self, model: PreTrainedModel) -> dict[str, Figure]:
        """Ask for each field of what is told about the held-out, given the others."""
        told = [record for record, is_known in zip(self.truth, self.told, strict=True) if is_known]
        people = [str(record.context) for record in told]
        answers = self.ask(model, [replace(r, inference=None, provenance=None) for r in told], INFERENCE)
        queries = self.ask(model, [Record(r.context, None, r.inference) for r in told], ("query",))
        contexts = self.ask(model, [Record(None, r.query, r.inference, 1.0) for r in told], ("context",))
        return {
            "inference": self.share([is_right(record, self.rule) for record in answers], people),
            "query": self.share([a.query == b.query for a, b in zip(queries, told, strict=True)], people),
            "context": self.share([is_right(record, self.rule) for record in contexts], people),
        } | {"plausibility (AUC)": self.judge_written(model)}


class Desk:
    """A frozen reader, and a mapping that is tuned on people of another world, in which no rule is to be learned."""

    def __init__(
        self, settings: Settings, seed: int, rule: Rule, reader: tuple[PreTrainedModel, PreTrainedTokenizerBase],
        unseen: Sequence[Resident],
    ) -> None:  # fmt: skip
        self.settings, self.seed, self.rule, self.unseen = settings, seed, rule, unseen
        self.model, self.tokenizer = reader
        # Their facts are drawn at random: whoever reads one of them knows nothing of the others.
        others = [Resident(person, "", "") for person in make_world(settings.people - settings.held_out, seed + 1_000)]
        self.names = {resident.context: resident.person.name for resident in (*others, *unseen)}
        self.encode = WordEncoder(self.model, self.tokenizer)
        self.scale: tuple[torch.Tensor, torch.Tensor] | None = None
        kb = self.knowledge_base(true_records(others))
        set_seed(seed)
        self.plugin = KnowledgePlugin.for_model(
            self.model, kb, self.tokenizer, method="passage", tokens=settings.tokens
        )
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder, num_train_epochs=settings.tuning_epochs, learning_rate=settings.tuning_rate, warmup_steps=20,
                seed=seed, per_device_train_batch_size=32, report_to="none", disable_tqdm=True, save_strategy="no",
                logging_strategy="no", use_cpu=True,
            )  # fmt: skip
            rows = _questions(others)
            MapTuningTrainer(
                self.model, arguments, plugin=self.plugin, objective="task", processing_class=self.tokenizer,
                train_dataset=rows,
            ).train()  # fmt: skip

    def knowledge_base(self, records: Sequence[Record]) -> KnowledgeBase:
        """Make a knowledge base of records: a word embedding for each property, side by side; zeros where none is."""
        entities = entities_from_records([r for r in records if r.inference], self.names.get, id_prefix="")
        said: dict[str, dict[str, str]] = {}
        for record in records:
            if record.inference and (of := property_of(record)):
                said.setdefault(self.names[record.context or ""], {})[of] = record.inference
        known = [[said[entity.label].get(of, "") for of in PROPERTIES] for entity in entities]
        vectors = torch.stack([self.encode(list(column)) for column in zip(*known, strict=True)], 1)
        there = torch.tensor([[bool(value) for value in row] for row in known])
        if self.scale is None:  # of the people it is tuned on
            self.scale = vectors.mean(0), vectors.std(0).clamp(min=1e-6)
        mean, spread = self.scale
        vectors = ((vectors - mean) / spread * there[..., None]).flatten(1)
        # The reader reads sentences.
        told = [replace(e, description=" ".join(_sentences(e.label, said[e.label]))) for e in entities]
        return KnowledgeBase.from_entities(told, vectors, name="people, by a model")

    def ask(self, sources: Mapping[str, Sequence[Record]]) -> dict[str, dict[str, Figure]]:
        """Ask about people whom the mapping was not tuned on, with knowledge from each source, beside its controls."""
        found: dict[str, dict[str, Figure]] = {}
        for name, records in sources.items():
            self.plugin.swap(self.knowledge_base(records))
            for part in ("all", "told", "untold"):
                rows = [
                    row for resident in self.unseen for row in _questions([resident], [0])
                    if part == "all" or is_told(resident, row["of"], self.rule) == (part == "told")
                ]  # fmt: skip
                conditions = CONDITIONS if part == "all" else CONDITIONS[:2]
                plain = [{key: value for key, value in row.items() if key != "of"} for row in rows]
                report = evaluate(
                    self.plugin, self.model, self.tokenizer, plain, seed=self.seed, progress=False, probe=False,
                    controls=[each for each in conditions if each != "plugin"], resamples=self.settings.resamples,
                )  # fmt: skip
                for condition in conditions:
                    result = report[condition]
                    line = "nothing" if condition == "none" else f"{name}: {condition}"
                    figure = Figure(result.value, result.low, result.high, result.rows)
                    found.setdefault(line, {}).setdefault(part, figure)
        return found


def _questions(residents: Sequence[Resident], templates: Sequence[int] | None = None) -> list[dict[str, Any]]:
    rows = []
    for resident in residents:
        # An entity is called by the person's name, which is its id too.
        own = questions([replace(resident.person, entity_id=resident.person.name)], templates)
        count = len(own) // len(PROPERTIES)
        rows += [row | ({"of": PROPERTIES[i // count]} if templates else {}) for i, row in enumerate(own)]
    return rows


def _sentences(name: str, said: Mapping[str, str]) -> list[str]:
    return [f"{name} {QUERIES[of]} {said[of]}." for of in PROPERTIES if of in said]
