"""``python -m examples.methods.refusal --seeds 0 1``: do methods that look entries up refuse where nothing fits?

A plugin is trained as by ``objective="task-or-refuse"``: of one row in five the entry is not shown, to be refused.
Then people are asked about whom it was not trained with: once with a knowledge base that holds them, and once with the
same without them. The reader has none of the words of KBLaM's refusal, and is to write a full stop instead.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from examples.methods.experiment import CASES, Case, Settings, train
from examples.methods.reader import Settings as ReaderSettings
from examples.methods.reader import reader
from examples.methods.world import Person, make_world, questions, split
from knowledge_plugin import KnowledgePlugin
from knowledge_plugin.injection.hook import find_hooks
from knowledge_plugin.injection.layer_hook import LayerHook
from knowledge_plugin.objectives.looking_up import LookupCollator

REFUSAL = "."
METHODS = ("memory", "kb-attention")


@dataclass(frozen=True)
class Refusals:
    """How often it refuses, by the first token of the answer.

    Args:
        with_entry: Share of questions that were refused though the entry was there.
        without_entry: Share of questions that were refused where it was not.
        base: The same of the model without a plugin.
        right: Share of questions that were answered right, with the entry there.
        apart: How well the score of the best entry at the last token tells the two apart: the share of pairs of a
            question with its entry and one without in which the first has the higher score. A half is chance.
        n: Questions in each.
    """

    with_entry: float
    without_entry: float
    base: float
    right: float
    apart: float
    n: int

    @property
    def precision(self) -> float:
        """Of what was refused, the share that ought to be, with as many questions of both kinds."""
        return self.without_entry / max(self.with_entry + self.without_entry, 1e-9)


def run(
    case: Case, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int, settings: Settings,
    refuse: bool = True,
) -> Refusals:  # fmt: skip
    """Train a plugin, to refuse or not, and ask it with and without the entries of the people asked about."""
    collator = LookupCollator(seed, refusal=REFUSAL if refuse else None)
    plugin, _ = train(case, model, tokenizer, seed, settings, collator)
    _, unseen = split(make_world(settings.people, seed), settings.held_out, seed)
    base, _ = _answers(model, tokenizer, unseen)
    there, sure = _attached(plugin, model, tokenizer, unseen)
    plugin.knowledge_base.remove([person.entity_id for person in unseen])
    gone, unsure = _attached(plugin, model, tokenizer, unseen)
    refusal = tokenizer(REFUSAL, add_special_tokens=False)["input_ids"][0]
    right = [tokenizer(row["label"], add_special_tokens=False)["input_ids"][0] for row in questions(unseen, [0])]
    return Refusals(
        with_entry=_share(each == refusal for each in there),
        without_entry=_share(each == refusal for each in gone),
        base=_share(each == refusal for each in base),
        right=_share(a == b for a, b in zip(there, right, strict=True)),
        apart=_share(0.5 * ((a > b) + (a >= b)) for a in sure for b in unsure),
        n=len(right),
    )


def _attached(
    plugin: KnowledgePlugin, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, people: Sequence[Person]
) -> tuple[list[int], list[float]]:
    with plugin.attach(model, tokenizer):
        return _answers(model, tokenizer, people)


def _answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, people: Sequence[Person]
) -> tuple[list[int], list[float]]:
    """Return the likeliest first token of the answer to each question, and the best score of an entry there."""
    found, best = [], []
    for row in questions(people, [0]):
        with torch.no_grad(), ExitStack() as stack:
            logs = [stack.enter_context(hook.logging()) for hook in find_hooks(model) if isinstance(hook, LayerHook)]
            found.append(int(model(**tokenizer(row["text"], return_tensors="pt")).logits[0, -1].argmax()))
            best += [float(log[0].scores[0].reshape(-1, log[0].scores[0].shape[-1])[-1].max()) for log in logs]
    return found, best


def _share(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def main(argv: list[str] | None = None) -> None:
    """Print a line for each seed."""
    parser = argparse.ArgumentParser(prog="python -m examples.methods.refusal", description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--never", action="store_true", help="train without refusals, to compare")
    parser.add_argument("--quick", action="store_true", help="too little of everything, to see that it runs")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    settings = Settings(people=24, held_out=8, epochs=0.5) if arguments.quick else Settings()
    small = ReaderSettings(layers=4, steps=4) if arguments.quick else ReaderSettings()
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            model, tokenizer = reader(Path(folder) / f"reader-{seed}", seed, small)
            for method in arguments.methods:
                found = run(CASES[method], model, tokenizer, seed, settings, not arguments.never)
                print(
                    f"{method}, seed {seed}: refused {found.without_entry:.1%} without the entry, "
                    f"{found.with_entry:.1%} with it (precision {found.precision:.1%}), {found.base:.1%} without a "
                    f"plugin; answered right with the entry {found.right:.1%}; told apart by the best score "
                    f"{found.apart:.1%}; {found.n} questions",
                    flush=True,
                )


if __name__ == "__main__":
    main()
