"""Three experiments on one frozen checkpoint: what it knows, what a plugin brings to it, what a LoRA takes up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from examples.describing.baked import baked
from examples.describing.bench import FIRST, SEEN, Bench, Figure, Settings, Told, plain
from examples.describing.world import KEPT, TOLD, about
from knowledge_plugin import evaluate
from knowledge_plugin.objectives.describing import Describing
from knowledge_plugin.objectives.descriptions import DescribingCollator


@dataclass(frozen=True)
class Outcome:
    """What one seed came to.

    Args:
        knows: What a decoder reads off the states of the frozen checkpoint alone, by whose mentions they are.
        plugins: Accuracy of the frozen head about people held out, by objective and condition.
        told: What the decoder reads off the states of people held out, with the plugin attached.
        baked: Accuracy of the frozen head, by what a LoRA learned and by who is asked about.
        new_head: The same of a head that is trained anew on states of half of the people.
        baked_told: What the decoder of a LoRA reads off the states of people, by who they are.
    """

    knows: Mapping[str, Told]
    plugins: Mapping[str, Mapping[str, Figure]]
    told: Mapping[str, Told]
    baked: Mapping[str, Mapping[str, Figure]]
    new_head: Mapping[str, Figure]
    baked_told: Mapping[str, Mapping[str, Told]]


def run(settings: Settings, seed: int, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Do the three experiments for one seed."""
    say("training a checkpoint")
    bench = Bench(settings, seed)
    world = bench.world
    say("probing: what a decoder reads off its states")
    half = len(world.read) // 2
    before = [f"{TOLD} . {sentence}" for sentence in SEEN]
    lessons = [*about(bench.strangers[:-100], before, 2, seed), *3 * about(world.read[:half], SEEN, 4, seed)]
    reader = bench.described(bench.language_model, lessons, settings.probe_steps)
    others = {"read of": world.read[half:], "never read of": world.held_out}
    knows = {name: bench.told(reader, bench.language_model, people) for name, people in others.items()}
    knows["never read of, but told of in the same text"] = bench.told(
        reader, bench.language_model, bench.strangers[-100:], sentences=[f"{TOLD} . {sentence}" for sentence in KEPT]
    )
    plugins, told = _plugins(bench, reader, say)
    return Outcome(knows, plugins, told, *baked(bench, reader, say))


def _plugins(bench: Bench, reader: Describing, say: Callable[[str], None]) -> tuple[dict, dict]:
    test = [plain(row) for row in about(bench.world.held_out, KEPT, 2, bench.seed + 3)]
    plugins, told = {}, {}
    for name, objective, decoder in (
        ("task", "task", None),
        ("mention-mlm", "mention-mlm", None),
        ("describe", "describe", None),
        (FIRST, "describe", reader),
    ):
        say(f"map-tuning: {name}")
        plugin, side = bench.tuned(objective, decoder)
        report = evaluate(
            plugin, bench.classifier, bench.tokenizer, test, controls=("none", "shuffled", "random", "text"),
            probe=False, resamples=bench.settings.resamples, seed=bench.seed, progress=False,
        )  # fmt: skip
        conditions = ("none", "plugin", "shuffled", "random", "text")
        plugins[name] = {c: Figure(r.value, r.low, r.high, r.rows) for c in conditions if (r := report[c])}
        if side is not None:
            with plugin.attach(bench.language_model, bench.tokenizer) as attachment:
                collator = DescribingCollator()
                collator.use(attachment)
                told[name] = bench.told(side, bench.language_model, bench.world.held_out, collator)
    return plugins, told
