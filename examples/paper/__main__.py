"""``python -m examples.paper wiki80 --data FOLDER --knowledge-base FOLDER ...``: one task, one table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import AutoTokenizer

from examples.paper.checkpoints import METHODS
from examples.paper.entity_questions import TEMPLATES_NAME
from examples.paper.experiment import INJECTIONS, Cell, Ingredients, Plan, run, save_cells
from examples.paper.injections import CONTROLS, mentions_of, read_descriptions
from examples.paper.report import table, warnings
from examples.paper.settings import PUBLISHED
from examples.paper.sources import Source, read_json
from examples.paper.tasks import NAMES, Options, load_task
from examples.paper.wiki80 import read_sentences
from examples.paper.wiki_et import read_entity_rows
from knowledge_plugin import KnowledgeBase, KnowledgePlugin
from knowledge_plugin.errors import MissingDependencyError


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    trained = None if options.plugin is None else KnowledgePlugin.from_pretrained(options.plugin)
    if trained is not None:
        kb = trained.knowledge_base
    else:
        kb = KnowledgeBase.from_pretrained(options.knowledge_base)
    tokenizer = AutoTokenizer.from_pretrained(options.base)
    settings = PUBLISHED[options.task]
    if options.epochs is not None:
        settings = settings.shortened(options.epochs)
    # A tiny model may read fewer tokens than the paper's.
    tokenizer.model_max_length = min(tokenizer.model_max_length, settings.max_length)
    task = load_task(
        options.task,
        _source(options.data),
        tokenizer,
        kb,
        Options(
            labels=None if options.labels is None else read_json(options.labels),
            templates=None if options.templates is None else read_json(options.templates),
            ways=options.ways,
            shots=options.shots,
            episodes=tuple(options.episodes),
            entity_rows=None if options.entity2id is None else read_entity_rows(options.entity2id),
            test_split=options.split,
            max_length=tokenizer.model_max_length,
        ),
    ).shortened(options.limit)
    corpus = [] if options.corpus is None else read_sentences(options.corpus, options.limit)
    mentioned = {mention.entity_id for mention in mentions_of([*task.train, *task.test])}
    descriptions = {} if options.descriptions is None else read_descriptions(options.descriptions, mentioned)
    plan = Plan(_chosen(options.methods), _chosen(options.injections), _chosen(options.controls), options.seeds)

    options.folder.mkdir(parents=True, exist_ok=True)
    results, cells = options.folder / f"{options.task}.json", list[Cell]()

    def done(cell: Cell) -> None:
        cells.append(cell)
        save_cells(results, cells)  # hours of work should outlive an interruption

    run(task, Ingredients(options.base, tokenizer, kb, corpus, descriptions, trained), plan, settings, done)
    console = Console(width=None if Console().is_terminal else 140)
    for warning in warnings(cells):
        console.print(warning, style="bold red")
    console.print(table(task, cells))
    console.print(f"Figures: {results}. How they differ from the paper's: examples/paper/README.md")


def _source(data: str) -> Source:
    if Path(data).is_dir():
        return data
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingDependencyError("dev", "datasets") from error
    found: Any = load_dataset(data)
    return found


def _chosen(names: Sequence[str]) -> list[str]:
    return [name for name in names if name != "-"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.paper", description=__doc__)
    parser.add_argument("task", choices=NAMES)
    parser.add_argument("--data", required=True, help="folder of the published files, or a dataset of the Hub")
    parser.add_argument("--base", default="bert-base-uncased", help="base model: a masked language model")
    knowledge = parser.add_mutually_exclusive_group(required=True)
    knowledge.add_argument("--knowledge-base", help="folder or dataset repo of a knowledge base")
    knowledge.add_argument("--plugin", help="a plugin that was map-tuned already: its knowledge base and its mapping")
    parser.add_argument("--corpus", type=Path, help="wiki20m_train.txt: sentences with mentions")
    parser.add_argument("--descriptions", type=Path, help="lines of an id, a tab and a text, as in Wikidata5M")
    parser.add_argument("--entity2id", type=Path, help="for wiki-et, which names entities by their rows")
    parser.add_argument("--labels", type=Path, help="for a dataset of wiki80 or wiki-et: JSON like rel2id.json")
    parser.add_argument("--templates", type=Path, help=f"for a dataset of entity-questions: JSON like {TEMPLATES_NAME}")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--injections", nargs="+", default=INJECTIONS, choices=INJECTIONS)
    parser.add_argument("--controls", nargs="+", default=list(CONTROLS), choices=[*CONTROLS, "-"], help="- for none")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--split", default="test", help="which split is scored (FewRel's episodes: always dev)")
    parser.add_argument("--ways", type=int, default=5)
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--episodes", nargs=2, type=int, default=[3000, 2000], help="to train on, and to test on")
    parser.add_argument("--limit", type=int, help="rows of each part at most, for a try")
    parser.add_argument("--epochs", type=float, help="of everything that learns, for a try; the paper's if not given")
    parser.add_argument("--folder", type=Path, default=Path("runs/paper"), help="where results go")
    return parser


if __name__ == "__main__":
    main()
