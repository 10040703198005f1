"""One mapping for each loss, on a frozen reader, from few answers; asked about people held out."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments, set_seed

from examples.auxiliary_losses.regularisation import DynamicLabelSmoothing, StateMatching
from examples.methods.experiment import make_knowledge_base
from examples.methods.world import PROPERTIES, make_world, questions, split
from knowledge_plugin import KnowledgeBase, KnowledgePlugin, MapTuningTrainer, Report, evaluate
from knowledge_plugin.injection.word_vectors import WordEncoder
from knowledge_plugin.objectives.collator import TaskCollator
from knowledge_plugin.objectives.distilling import DistillingCollator
from knowledge_plugin.objectives.relation_decoding import RelationDecoding
from knowledge_plugin.objectives.side import SideModule


@dataclass(frozen=True)
class Settings:
    """How much of everything; smaller ones serve the tests.

    Args:
        people: In the world.
        held_out: Of them, asked about.
        tuned: How many of the others there are answers about; of all there are vectors and triples.
        epochs: Over these answers.
        rate: The highest learning rate.
        batch_size: Rows a step.
        resamples: Of the bootstrap.
    """

    people: int = 1000
    held_out: int = 120
    tuned: int = 120
    epochs: float = 10
    rate: float = 3e-3
    batch_size: int = 32
    resamples: int = 1000


@dataclass
class Bench:
    """A frozen reader, a world, and what there is to learn from."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    seed: int
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        self.world = make_world(self.settings.people, self.seed)
        seen, self.unseen = split(self.world, self.settings.held_out, self.seed)
        self.seen = seen[: self.settings.tuned]
        self.rows = questions(self.seen)
        encode = WordEncoder(self.model, self.tokenizer)
        self.kb: KnowledgeBase = make_knowledge_base(list(self.world), encode, keyed=False)[0]
        self.steps = int(self.settings.epochs * -(-len(self.rows) // self.settings.batch_size))

    def decoding(self, *, weight: float, shuffled: bool = False) -> RelationDecoding:
        """Return relation decoding of all people's facts, also of those held out: the vectors hold these already."""
        facts = {person.entity_id: person.facts for person in self.world}
        if shuffled:
            owners = random.Random(self.seed).sample(sorted(facts), len(facts))
            facts = dict(zip(owners, (facts[i] for i in sorted(facts)), strict=True))
        triples = [(i, each, f"value:{known[each]}") for i, known in facts.items() for each in PROPERTIES]
        names = {tail: tail.removeprefix("value:") for _, _, tail in triples}
        return RelationDecoding(self.model, self.tokenizer, self.kb, triples, names=names, weight=weight)


Make = Callable[[Bench], SideModule | None]


@dataclass(frozen=True)
class Arm:
    """One way to learn: what is added to the loss, and whether batches need a teacher."""

    make: Make
    teacher: bool = False


# On another seed the better of 1 and 0.1 for relations, of 0.5 and 0.05 for l2; EMD has that of l2.
ARMS: dict[str, Arm] = {
    "the task alone": Arm(lambda bench: None),
    "and decoding of relations": Arm(lambda bench: bench.decoding(weight=0.1)),
    "- the same, facts of others": Arm(lambda bench: bench.decoding(weight=0.1, shuffled=True)),
    "and states of the text in context, plain l2": Arm(lambda bench: StateMatching("l2", 0.05), teacher=True),
    "and states of the text in context, EMD": Arm(lambda bench: StateMatching("emd", 0.05), teacher=True),
    "and dynamic label smoothing": Arm(
        lambda bench: DynamicLabelSmoothing(bench.model.config.vocab_size, 0.1, bench.steps)
    ),
}


@dataclass(frozen=True)
class Finding:
    """What came of one way to learn, on one seed."""

    report: Report
    seconds: float


def run(arm: Arm, bench: Bench) -> Finding:
    """Tune a mapping, and ask it about the people held out."""
    settings = bench.settings
    set_seed(bench.seed)
    plugin = KnowledgePlugin.for_model(bench.model, bench.kb, bench.tokenizer)
    side = arm.make(bench)
    options: dict[str, Any] = {} if side is None else {"auxiliary": {"side": side}}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=settings.epochs, learning_rate=settings.rate, warmup_steps=20, seed=bench.seed,
            per_device_train_batch_size=settings.batch_size, report_to="none", disable_tqdm=True, save_strategy="no",
            logging_strategy="no", use_cpu=True,
        )  # fmt: skip
        trainer = MapTuningTrainer(
            bench.model, arguments, plugin=plugin, processing_class=bench.tokenizer, train_dataset=bench.rows,
            data_collator=DistillingCollator() if arm.teacher else TaskCollator(), **options,
        )  # fmt: skip
        began = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - began
    asked = questions(bench.unseen, [0])
    report = evaluate(
        plugin, bench.model, bench.tokenizer, asked, controls=("none", "shuffled", "random", "text"),
        resamples=settings.resamples, progress=False, probe=False,
    )  # fmt: skip
    return Finding(report, seconds)
