"""The two experiments: composed vectors for the unseen, and which mentions get a vector."""

from __future__ import annotations

import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from transformers import BertForSequenceClassification, PreTrainedTokenizerBase, TrainingArguments, set_seed

from examples.long_tail.checkpoint import make_tokenizer, train_checkpoint
from examples.long_tail.world import Triple, World, make_world, questions, reading, triples_of
from knowledge_plugin import DictionaryLinker, Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer, evaluate
from knowledge_plugin.building import ComposedVectors, compose_vectors, embed_graph
from knowledge_plugin.injection.word_vectors import WordEncoder
from knowledge_plugin.linking import Linker, LongTailLinker, Mention, count_entities, count_neighbours

RARER_THAN = 10  # where the checkpoint begins to know
# How often the one who is asked about was read of, and whether the sentence names another.
BANDS: dict[str, tuple[int, int, tuple[bool, ...]]] = {
    "rare: read 0 to 2 times": (0, 3, (False, True)),
    "middle: 3 to 9": (3, 10, (False, True)),
    "popular: 10 or more, alone": (10, 10**9, (False,)),
    "popular, beside another": (10, 10**9, (True,)),
}


@dataclass(frozen=True)
class Settings:
    """How much of everything; the defaults are the example's, smaller ones serve the tests."""

    asked: int = 300
    tuned: int = 150
    unread: int = 250
    countries: int = 8
    towns: int = 5
    most_read: int = 60
    loyal: float = 0.8
    width: int = 96
    epochs: int = 6
    dim: int = 32
    graph_epochs: int = 300
    tuning_rows: int = 6
    tuning_epochs: float = 3
    tuning_rate: float = 2e-3
    questions: int = 4
    resamples: int = 1000


@dataclass(frozen=True)
class Figure:
    """An accuracy, or a difference of two, with its interval of 95 % over people."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Selection:
    """One way of choosing mentions: the share that is left, and by band the accuracy and its change."""

    share: float
    accuracy: Mapping[str, Figure]
    change: Mapping[str, Figure]


@dataclass(frozen=True)
class Outcome:
    """What one seed came to.

    Args:
        composed: Accuracy on people whom no training saw, by where their vectors come from.
        neighbours: How many triples a composed vector comes from, in the mean.
        missing: How many people could not be composed.
        without: Accuracy of the frozen checkpoint alone, by band.
        selections: By what the mapping was tuned on, and by linker.
        shuffled: Accuracy with the vectors of others at mentions of the long tail, by band.
        rows: How many questions in each band.
    """

    composed: Mapping[str, Figure]
    neighbours: float
    missing: int
    without: Mapping[str, Figure]
    selections: Mapping[str, Mapping[str, Selection]]
    shuffled: Mapping[str, Figure]
    rows: Mapping[str, int]


class Bench:
    """A frozen checkpoint, and what is asked of it."""

    def __init__(self, settings: Settings, seed: int, say: Callable[[str], None]) -> None:
        self.settings, self.seed, self.say = settings, seed, say
        self.world = make_world(
            asked=settings.asked, tuned=settings.tuned, unread=settings.unread, countries=settings.countries,
            towns=settings.towns, most_read=settings.most_read, loyal=settings.loyal, seed=seed,
        )  # fmt: skip
        self.texts = reading(self.world, 60, seed)
        self.tokenizer: PreTrainedTokenizerBase = make_tokenizer(self.world)
        say(f"training a checkpoint on {len(self.texts)} sentences")
        self.model: BertForSequenceClassification = train_checkpoint(
            self.tokenizer, self.texts, labels=settings.countries, width=settings.width, epochs=settings.epochs,
            seed=seed,
        )  # fmt: skip
        self.tuning = questions(self.world.tuned, self.world.tuned, settings.tuning_rows, seed + 1)
        self.test = questions(self.world.asked, self.world.asked, settings.questions, seed + 2)

    def tuned(self, kb: KnowledgeBase, linker: Linker | None = None) -> KnowledgePlugin:
        """Tune a mapping on people who are not asked about, with vectors at the mentions that a linker finds."""
        set_seed(self.seed)
        plugin = KnowledgePlugin.for_model(self.model, kb, self.tokenizer)
        # Trainer makes its folder even when it saves nothing, and reports its times on stdout.
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
            arguments = TrainingArguments(
                folder, learning_rate=self.settings.tuning_rate, num_train_epochs=self.settings.tuning_epochs,
                per_device_train_batch_size=32, dataloader_pin_memory=False, seed=self.seed, use_cpu=True,
                logging_strategy="no", save_strategy="no", report_to="none", disable_tqdm=True,
            )  # fmt: skip
            MapTuningTrainer(
                model=self.model, plugin=plugin, objective="task", processing_class=self.tokenizer, base_dropout=0.0,
                args=arguments, train_dataset=_plain(self.tuning), linker=linker,
            ).train()  # fmt: skip
        return plugin

    def ask(
        self, plugin: KnowledgePlugin, controls: Sequence[Any] = (), linker: Linker | None = None,
        rows: Sequence[Mapping[str, Any]] | None = None,
    ):  # fmt: skip
        """Evaluate a plugin on the questions, or on some of them."""
        return evaluate(
            plugin, self.model, self.tokenizer, _plain(self.test if rows is None else rows), controls=controls,
            linker=linker, probe=False, seed=self.seed, resamples=self.settings.resamples, progress=False,
            batch_size=128,
        )  # fmt: skip

    def band(self, name: str) -> list[dict[str, Any]]:
        """Return the questions of a band."""
        low, high, others = BANDS[name]
        return [row for row in self.test if low <= row["person"].read < high and row["other"] in others]


def run(settings: Settings, seed: int, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Do both experiments for one seed."""
    bench = Bench(settings, seed, say)
    world, triples = bench.world, triples_of(bench.world)
    unseen = {person.entity_id for person in world.asked}
    say(f"embedding the graph of {len(triples)} triples, and again without those of {len(unseen)} people")
    whole = _embed(world, triples, settings, seed)
    kb = _embed(world, [t for t in triples if not unseen & {t[0], t[2]}], settings, seed)

    say("map-tuning: a mapping for each of the two embeddings, and one that is tuned as it is used")
    frequency = count_entities(DictionaryLinker(whole), [row["text"] for row in bench.texts])
    own, plugin = bench.tuned(whole), bench.tuned(kb)
    tail = LongTailLinker(DictionaryLinker(kb), kb, frequency=frequency, rarer_than=RARER_THAN)
    selective = bench.tuned(kb, tail)
    # The mappings are tuned; only now does the knowledge base hear of the people who are asked about.
    composed = compose_vectors(kb, triples, sorted(unseen))
    variants = {
        "composed of all their triples": composed,
        "composed of one triple, drawn at random": compose_vectors(kb, _one_each(triples, unseen, seed), unseen),
        "composed without the town": compose_vectors(kb, _but_towns(triples, unseen), unseen),
    }
    say("asking about people whom no embedding and no mapping has seen")
    first = bench.ask(own, ["none"])
    figures = {"no plugin": _figure(first["none"]), "vectors of their own": _figure(first["plugin"])}
    for name, vectors in variants.items():
        _put(kb, world, vectors)
        report = bench.ask(plugin, ["shuffled", "random"] if vectors is composed else [])
        figures[name] = _figure(report["plugin"])
        if vectors is composed:
            figures["- the same, shuffled"] = _figure(report["shuffled"])
            figures["- the same, random"] = _figure(report["random"])
    _put(kb, world, composed)

    linkers = _linkers(bench, kb, triples, frequency)
    bands = {name: rows for name in BANDS if (rows := bench.band(name))}
    texts = [row["text"] for row in bench.test]
    total = sum(map(len, linkers["every mention"](texts)))
    tunings: dict[str, dict[str, Selection]] = {}
    for tuning, tuned in (("every mention", plugin), ("the long tail", selective)):
        say(f"choosing mentions, with the mapping that was tuned on {tuning}")
        tunings[tuning] = {
            name: _selection(sum(map(len, linker(texts))) / total, bench, tuned, linker, bands)
            for name, linker in linkers.items()
        }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The linker found no mention")
        last = {band: bench.ask(selective, ["none", "shuffled"], tail, rows) for band, rows in bands.items()}
    return Outcome(
        composed=figures,
        neighbours=sum(composed.neighbours) / max(1, len(composed.ids)),
        missing=len(composed.missing),
        without={band: _figure(report["none"]) for band, report in last.items()},
        selections=tunings,
        shuffled={band: _figure(report["shuffled"]) for band, report in last.items()},
        rows={band: len(rows) for band, rows in bands.items()},
    )


def _selection(
    share: float, bench: Bench, plugin: KnowledgePlugin, linker: Linker, bands: Mapping[str, list[dict[str, Any]]]
) -> Selection:
    with warnings.catch_warnings():
        # That nothing is linked in a band is what is measured here.
        warnings.filterwarnings("ignore", message="The linker found no mention")
        reports = {band: bench.ask(plugin, ["none"], linker, rows) for band, rows in bands.items()}
    gains = {band: report.gain("none") for band, report in reports.items()}
    return Selection(
        share=share,
        accuracy={band: _figure(report["plugin"]) for band, report in reports.items()},
        change={band: Figure(g.difference, g.low, g.high, len(bands[band])) for band, g in gains.items() if g},
    )


# ---- knowledge bases -----------------------------------------------------------------------------------------------


def _embed(world: World, triples: Sequence[Triple], settings: Settings, seed: int) -> KnowledgeBase:
    ids, vectors = embed_graph(triples, dim=settings.dim, epochs=settings.graph_epochs, seed=seed, progress=False)
    names = {person.entity_id: person.name for person in world.people} | world.towns
    return KnowledgeBase.from_entities(
        [Entity(entity_id, names.get(entity_id, entity_id)) for entity_id in ids], vectors, name="an invented world"
    )


def _put(kb: KnowledgeBase, world: World, composed: ComposedVectors) -> None:
    names = {person.entity_id: person.name for person in world.asked}
    kb.upsert([Entity(entity_id, names[entity_id]) for entity_id in composed.ids], composed.vectors)


def _one_each(triples: Sequence[Triple], unseen: set[str], seed: int) -> list[Triple]:
    """Leave of each unseen entity one triple that leads to one with a vector, as DKPLM composes its pseudo tokens."""
    rng = random.Random(seed)
    own: dict[str, list[Triple]] = {}
    rest = []
    for triple in triples:
        ends = unseen & {triple[0], triple[2]}
        if len(ends) == 1:
            own.setdefault(min(ends), []).append(triple)
        elif not ends:
            rest.append(triple)
    return rest + [rng.choice(found) for found in own.values()]


def _but_towns(triples: Sequence[Triple], unseen: set[str]) -> list[Triple]:
    """Leave out where the unseen live, which all but names the answer; friends and trade stay."""
    return [t for t in triples if not (t[1] == "lives in" and t[0] in unseen)]


# ---- linkers -------------------------------------------------------------------------------------------------------


def _linkers(
    bench: Bench, kb: KnowledgeBase, triples: Sequence[Triple], frequency: Mapping[str, int]
) -> dict[str, Linker]:
    every = DictionaryLinker(kb)
    seldom = {n: LongTailLinker(every, kb, frequency=frequency, rarer_than=n) for n in (2, 5, RARER_THAN, 20)}
    neighbours = count_neighbours(triples, [person.entity_id for person in bench.world.people])
    score: dict[str, Any] = {"encode": WordEncoder(bench.model, bench.tokenizer), "connectivity": neighbours}
    rare = score | {"frequency": frequency, "rarer_than": RARER_THAN}
    return {
        "every mention": every,
        **{f"counted fewer than {n} times": linker for n, linker in seldom.items()},
        f"as many as fewer than {RARER_THAN}, at random": _Random(every, seldom[RARER_THAN], bench),
        f"counted {RARER_THAN} times or more": _Frequent(every, frequency, RARER_THAN),
        f"fewer than {RARER_THAN}, score up to the mean (the paper's rule)": LongTailLinker(every, kb, **rare),
        f"fewer than {RARER_THAN}, score from the mean on": LongTailLinker(every, kb, **rare, keep="above"),
        "score up to the mean, however frequent": LongTailLinker(every, kb, **score),
    }


class _Frequent:
    """The contrary of the long tail."""

    def __init__(self, linker: Linker, frequency: Mapping[str, int], least: int) -> None:
        self.linker, self.frequency, self.least = linker, frequency, least

    def __call__(self, texts: list[str]) -> list[list[Mention]]:
        found = self.linker(texts)
        return [[m for m in row if self.frequency.get(m.entity_id, 0) >= self.least] for row in found]


class _Random:
    """As many entities as another linker keeps, whichever."""

    def __init__(self, linker: Linker, like: LongTailLinker, bench: Bench) -> None:
        self.linker = linker
        ids = [person.entity_id for person in bench.world.asked]
        kept = [i for i in ids if (like.frequency or {}).get(i, 0) < like.rarer_than]
        self.kept = set(random.Random(bench.seed).sample(ids, len(kept)))

    def __call__(self, texts: list[str]) -> list[list[Mention]]:
        return [[m for m in row if m.entity_id in self.kept] for row in self.linker(texts)]


# ---- figures -------------------------------------------------------------------------------------------------------


def _plain(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"text": row["text"], "label": row["label"]} for row in rows]


def _figure(result: Any) -> Figure:
    return Figure(result.value, result.low, result.high, result.rows)
