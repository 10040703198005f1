"""One frozen checkpoint, a plugin for each of three domains that share names: which plugin should a text get?"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase, TrainingArguments, set_seed

from examples.domains.names import DOMAINS, KINDS, knowledge_base, lessons, make_things, questions
from examples.long_tail.checkpoint import make_tokenizer, train_checkpoint
from examples.long_tail.world import make_world, reading
from knowledge_plugin import DictionaryLinker, KnowledgeBase, KnowledgePlugin, MapTuningTrainer
from knowledge_plugin.evaluation import controls
from knowledge_plugin.evaluation.bootstrap import Bootstrap
from knowledge_plugin.evaluation.metrics import SummedOutcomes, find_metric
from knowledge_plugin.linking import Mention
from knowledge_plugin.linking.routing import RouteBy
from knowledge_plugin.routing import PluginRouter

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Settings:
    """How much of everything; the defaults are the example's, smaller ones serve the tests."""

    asked: int = 40
    tuned: int = 200
    lands: int = 8
    towns: int = 5
    per_town: int = 120
    width: int = 96
    epochs: int = 10
    dim: int = 32
    noise: float = 0.5
    tuning_rows: int = 6
    tuning_epochs: float = 4
    tuning_rate: float = 5e-4
    resamples: int = 1000


@dataclass(frozen=True)
class Share:
    """Right answers of all, with an interval of 95 % over things."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Outcome:
    """What one seed came to.

    Args:
        accuracy: By condition, then by kind of question, by domain, and ``"all"``.
        chosen: How often the router gives a text to the plugin of its domain, by the way it routes, then by kind.
    """

    accuracy: Mapping[str, Mapping[str, Share]]
    chosen: Mapping[str, Mapping[str, Share]]


def run(settings: Settings, seed: int, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Train a checkpoint and a plugin for each domain, and ask about all of them in every way."""
    bench = _Bench(settings, seed, say)
    say("map-tuning a plugin for each domain, and one for all")
    plugins = {domain: bench.tuned(kb, [domain]) for domain, kb in bench.bases.items()}
    whole = bench.tuned(_joined(bench.bases), DOMAINS)
    say(f"asking {len(bench.rows)} questions")
    asked = {
        "no plugin": bench.answers(None),
        "the plugin of the text's domain, by hand": bench.by_hand(plugins, lambda domain: domain),
        "all attached together": bench.answers(_together(plugins)),
        "routed per text": bench.answers(PluginRouter(plugins, per="text").attach),
        "routed per mention": bench.answers(PluginRouter(plugins).attach),
        "one of those that link something, at random": bench.answers(_at_random(plugins, seed)),
        "the plugin of another domain, by hand": bench.by_hand(plugins, _next),
        "one plugin of all domains, by prior": bench.answers(whole.attach),
        "one plugin of all domains, by context": bench.answers(
            lambda *pair: whole.attach(*pair, linker=DictionaryLinker(whole.knowledge_base, disambiguate="context"))
        ),
        "routed per mention, shuffled vectors": bench.answers(_with(plugins, controls.shuffled, seed).attach),
        "routed per mention, random vectors": bench.answers(_with(plugins, controls.random, seed).attach),
    }
    texts = [row["text"] for row in bench.rows]
    chosen = {}
    ways: tuple[RouteBy, ...] = ("coverage", "mentions")
    for by in ways:
        names = PluginRouter(plugins, by=by).choose(texts)
        right = [name == row["thing"].domain for name, row in zip(names, bench.rows, strict=True)]
        chosen[f"by {by}"] = bench.shares(np.array(right))
    return Outcome({name: bench.shares(right) for name, right in asked.items()}, chosen)


class _Bench:
    """A frozen checkpoint, and what is asked of it."""

    def __init__(self, settings: Settings, seed: int, say: Callable[[str], None]) -> None:
        self.settings, self.seed = settings, seed
        self.things = make_things(asked=settings.asked, tuned=settings.tuned, lands=settings.lands, seed=seed)
        self.bases = knowledge_base(
            self.things, lands=settings.lands, dim=settings.dim, noise=settings.noise, seed=seed
        )
        self.rows: Rows = questions(self.things, seed)
        # Of the long tail's world its towns alone, whose lands the checkpoint learns.
        world = make_world(
            asked=0,
            tuned=0,
            unread=0,
            countries=settings.lands,
            towns=settings.towns,
            most_read=1,
            loyal=1.0,
            seed=seed,
        )
        self.tokenizer: PreTrainedTokenizerBase = make_tokenizer(world)
        read = reading(world, settings.per_town, seed)
        say(f"training a checkpoint on {len(read)} sentences")
        self.model = train_checkpoint(
            self.tokenizer, read, labels=settings.lands, width=settings.width, epochs=settings.epochs, seed=seed
        )

    def tuned(self, kb: KnowledgeBase, domains: Sequence[str]) -> KnowledgePlugin:
        """Tune a mapping on things of some domains that are not asked about."""
        set_seed(self.seed)
        rows = [
            {"text": row["text"], "label": row["label"]}
            for domain in domains
            for row in lessons(self.things, domain, self.seed, times=self.settings.tuning_rows)
        ]
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
                args=arguments, train_dataset=rows,
            ).train()  # fmt: skip
        return plugin

    def answers(self, attach: Callable[..., Any] | None, rows: Rows | None = None) -> np.ndarray:
        """Return which questions are answered right, bool ``[rows]``, with what is attached."""
        rows = self.rows if rows is None else rows
        found = []
        with ExitStack() as stack:
            tokenizer = self.tokenizer
            if attach is not None:
                _, tokenizer = stack.enter_context(attach(self.model, self.tokenizer))
            for at in range(0, len(rows), 128):
                some = rows[at : at + 128]
                batch = tokenizer([row["text"] for row in some], padding=True, return_tensors="pt")
                with torch.no_grad():
                    found.append(self.model(**batch).logits.argmax(-1) == torch.tensor([row["label"] for row in some]))
        return torch.cat(found).numpy()

    def by_hand(self, plugins: Mapping[str, KnowledgePlugin], which: Callable[[str], str]) -> np.ndarray:
        """Answer the questions of each domain with the plugin that is named, alone on the model."""
        right = np.zeros(len(self.rows), bool)
        for domain in DOMAINS:
            mine = [i for i, row in enumerate(self.rows) if row["thing"].domain == domain]
            right[mine] = self.answers(plugins[which(domain)].attach, [self.rows[i] for i in mine])
        return right

    def shares(self, right: np.ndarray) -> dict[str, Share]:
        """Return the share of what is right, by kind of question, by domain, and of all."""
        parts = {kind: [row["kind"] == kind for row in self.rows] for kind in KINDS}
        parts |= {domain: [row["thing"].domain == domain for row in self.rows] for domain in DOMAINS}
        parts["all"] = [True] * len(self.rows)
        return {name: self._share(right, np.array(part)) for name, part in parts.items()}

    def _share(self, right: np.ndarray, part: np.ndarray) -> Share:
        things = [row["thing"].entity_id for row, is_in in zip(self.rows, part, strict=True) if is_in]
        number = {thing: i for i, thing in enumerate(dict.fromkeys(things))}
        counts = np.stack([right[part], np.ones(part.sum())], axis=1).astype(float)
        clusters = np.array([number[thing] for thing in things])
        outcomes = SummedOutcomes(find_metric("accuracy"), counts, clusters)
        drawn = Bootstrap({"it": outcomes}, len(number), resamples=self.settings.resamples, seed=self.seed)
        return Share(*drawn.interval("it"), len(things))


def _together(plugins: Mapping[str, KnowledgePlugin]) -> Callable[..., Any]:
    """Attach all, as the library does: where two link the same name, the first keeps it."""

    @contextmanager
    def attach(model: Any, tokenizer: Any) -> Iterator[tuple[Any, Any]]:
        with ExitStack() as stack:
            for plugin in plugins.values():
                attachment = stack.enter_context(plugin.attach(model, tokenizer))
            yield model, attachment.tokenizer

    return attach


def _at_random(plugins: Mapping[str, KnowledgePlugin], seed: int) -> Callable[..., Any]:
    """Choose for each text any plugin that links something: what the router's choice is worth, beside its switching."""
    linkers = {name: plugin.default_linker() for name, plugin in plugins.items()}

    def drawn(name: str) -> Callable[[list[str]], list[list[Mention]]]:
        def linker(texts: list[str]) -> list[list[Mention]]:
            found = {each: list(find(texts)) for each, find in linkers.items() if find is not None}
            kept = []
            for i, text in enumerate(texts):
                some = [each for each, rows in found.items() if rows[i]]
                # By the text, so that all of them draw the same.
                kept.append(found[name][i] if some and random.Random(f"{seed} {text}").choice(some) == name else [])
            return kept

        return linker

    @contextmanager
    def attach(model: Any, tokenizer: Any) -> Iterator[tuple[Any, Any]]:
        with ExitStack() as stack:
            for name, plugin in plugins.items():
                attachment = stack.enter_context(plugin.attach(model, tokenizer, linker=drawn(name)))
            yield model, attachment.tokenizer

    return attach


def _with(plugins: Mapping[str, KnowledgePlugin], control: Callable[..., KnowledgeBase], seed: int) -> PluginRouter:
    others = {
        name: KnowledgePlugin(plugin.config, plugin.mapping, control(plugin.knowledge_base, seed))
        for name, plugin in plugins.items()
    }
    return PluginRouter(others)


def _next(domain: str) -> str:
    return DOMAINS[(DOMAINS.index(domain) + 1) % len(DOMAINS)]


def _joined(bases: Mapping[str, KnowledgeBase]) -> KnowledgeBase:
    entities = [entity for kb in bases.values() for entity in kb]
    vectors = torch.cat([kb.vectors(range(len(kb))) for kb in bases.values()])
    return KnowledgeBase.from_entities(entities, vectors, name="all domains")
