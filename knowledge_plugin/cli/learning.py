"""Commands that fit a mapping and look at what it is worth: ``align``, ``train``, ``evaluate``.

What they need of Trainer and of evaluation is loaded when they are called: all other commands start without it.
"""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import transformers
import typer

import knowledge_plugin
from knowledge_plugin.cli.artifact import Artifact, open_plugin
from knowledge_plugin.cli.checkpoint import load_language_model, load_model, load_tokenizer
from knowledge_plugin.cli.columns import column_names
from knowledge_plugin.cli.output import AsJson, harmless, print_json, print_values
from knowledge_plugin.config import (
    CONFIG_NAME,
    KNOWLEDGE_BASE_FOLDER,
    KnowledgePluginConfig,
    no_constant,
    read_config,
)
from knowledge_plugin.errors import ArtifactError, ConfigError, SaveError, TrainingError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.plugin import KnowledgePlugin
from knowledge_plugin.registry import find_method

Out = Annotated[Path, typer.Argument(metavar="OUT", file_okay=False, help="Folder to write the plugin to.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the plugin that OUT holds.")]
Kb = Annotated[str, typer.Option("--kb", metavar="REPO|FOLDER", help="The knowledge base.")]
Checkpoint = Annotated[str, typer.Option("--model", metavar="CHECKPOINT", help="The frozen model: a folder or a repo.")]
Data = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="JSON Lines or CSV: text, label, ...")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="FIELD=COLUMN", help="What the data calls a field: text=sentence. Repeat."),
]

_TARGETS = ("names", "descriptions")


def align(
    out: Out,
    kb: Kb,
    model: Checkpoint,
    targets: Annotated[str, typer.Option(help="What to fit to: names or descriptions.")] = "names",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make a plugin in closed form: no labels, no training, seconds."""
    if targets not in _TARGETS:
        raise typer.BadParameter(
            f"expected {' or '.join(_TARGETS)}, found {targets!r:.80}. Vectors of words can be given in Python alone: "
            "align(..., targets='words', words={...})",
            param_hint="--targets",
        )
    _refuse_to_replace(out, overwrite)
    checkpoint, tokenizer = load_model(model), load_tokenizer(model)
    plugin = KnowledgePlugin.for_model(checkpoint, _knowledge_base(kb), tokenizer, mapping="affine")
    report = knowledge_plugin.align(plugin, checkpoint, tokenizer, targets=targets)  # type: ignore[arg-type]
    plugin.save_pretrained(out)
    verdict = None
    if report.verdict is not None:
        other = report.other_targets
        advice = f" Type: --targets {other} --overwrite, or knowledge-plugin train." if other else ""
        verdict = f"{report.verdict}{advice} What it is worth, knowledge-plugin evaluate says."
    _show(str(out), vars(report) | ({"verdict": verdict} if as_json else {}), as_json)
    if verdict is not None and not as_json:
        typer.echo(verdict)


def train(
    out: Out,
    kb: Kb,
    model: Checkpoint,
    data: Data,
    columns: Columns = None,
    method: Annotated[
        str,
        typer.Option(help="map-tuning, kformer, memory, kb-attention, passage, or one of another package."),
    ] = "map-tuning",
    setting: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Of the method, such as key_dim=384 or layers=[0,1]; may be repeated."),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="task; of map-tuning also mention-mlm, mention-clm, mention-seq2seq and describe, of kb-attention "
            "task-or-refuse, of passage distil."
        ),
    ] = "task",
    mapping: Annotated[
        str | None, typer.Option(help="mlp or affine; without it, what is usual for the method.", show_default=False)
    ] = None,
    epochs: Annotated[float, typer.Option(min=0.0)] = 2.0,
    learning_rate: Annotated[float, typer.Option(min=0.0)] = 1e-3,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    seed: int = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT-run.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the plugin that OUT holds, and begin anew.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a plugin through a frozen model; checkpoints go to OUT-run, so that it can be resumed."""
    run = Path(f"{out}-run")
    if resume and overwrite:
        raise typer.BadParameter("not with --resume, which goes on with what is there", param_hint="--overwrite")
    _refuse_to_replace(out, overwrite or resume, "--resume to go on with its training; ")
    _check_run(run, resume, overwrite)
    settings = _settings(setting or [])
    way_in = find_method(method)
    way_in.check_settings(settings)  # these three say what is wrong before anything is loaded
    way_in.find_objective(objective)
    rows = _read_rows(data, columns)
    checkpoint, tokenizer = load_model(model), load_tokenizer(model)
    transformers.set_seed(seed)
    kind: Any = mapping
    plugin = KnowledgePlugin.for_model(checkpoint, _knowledge_base(kb), tokenizer, kind, method=method, **settings)
    arguments = transformers.TrainingArguments(
        str(run),
        learning_rate=learning_rate,
        num_train_epochs=epochs,
        per_device_train_batch_size=batch_size,
        warmup_steps=0.1,
        seed=seed,
        save_strategy="epoch",
        save_total_limit=1,
        report_to="none",
    )
    trainer = knowledge_plugin.MapTuningTrainer(
        model=checkpoint,
        plugin=plugin,
        objective=objective,
        processing_class=tokenizer,
        args=arguments,
        train_dataset=rows,
    )
    for left in _checkpoints(run) if overwrite else ():
        shutil.rmtree(left)  # or this training's own would count as older, and be the ones that are removed
    with redirect_stdout(sys.stderr):  # Trainer reports on stdout
        done = trainer.train(resume_from_checkpoint=resume)
    plugin.save_pretrained(out)
    values = {"method": method, "objective": objective, "rows": len(rows), "steps": done.global_step}
    values |= {"loss": done.training_loss, "seconds": done.metrics["train_runtime"]}
    _show(str(out), values, as_json)


def evaluate(
    artifact: Artifact,
    model: Checkpoint,
    data: Annotated[
        Path, typer.Option(exists=True, help="JSON Lines or CSV: text, label, ...; with --task its file or folder.")
    ],
    columns: Columns = None,
    metric: Annotated[
        str | None, typer.Option(help="accuracy (the default), micro-f1, hits@5, perplexity, ...", show_default=False)
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a plot to this PNG.")] = None,
    task: Annotated[
        str | None,
        typer.Option(help="ecbd or entity-inferences: does knowledge propagate? Needs a language model."),
    ] = None,
    embedder: Annotated[
        str | None, typer.Option(help="With --task: text, for entities that the plugin lacks, by their definitions.")
    ] = None,
    text_model: Annotated[str | None, typer.Option(help="sentence-transformers model for text.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Put a plugin beside its controls on one frozen model: nothing, shuffled and random vectors, text in context."""
    if task is not None:
        for name, given in (("--metric", metric), ("--plot", plot), ("--column", columns)):
            if given is not None:
                raise typer.BadParameter("not with --task, whose data and figures are its own", param_hint=name)
        _propagation(artifact, model, data, task, embedder, text_model, batch_size, seed, as_json)
        return
    if data.is_dir():
        raise typer.BadParameter("a folder: expected a file, or --task beside it", param_hint="--data")
    if embedder is not None or text_model is not None:
        raise typer.BadParameter("expected --task beside it", param_hint="--embedder")
    rows = _read_rows(data, columns)
    checkpoint, tokenizer = load_model(model), load_tokenizer(model)
    report = knowledge_plugin.evaluate(
        open_plugin(artifact),
        checkpoint,
        tokenizer,
        rows,
        metric=metric or "accuracy",
        batch_size=batch_size,
        seed=seed,
    )
    if plot is not None:
        report.plot(plot)
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo(str(report))


def _propagation(
    artifact: str,
    model: str,
    data: Path,
    task: str,
    embedder: str | None,
    text_model: str | None,
    batch_size: int,
    seed: int,
    as_json: bool,
) -> None:
    from knowledge_plugin.evaluation.propagation import TASKS, propagation, read_probes

    if task not in TASKS:
        raise typer.BadParameter(f"expected {' or '.join(TASKS)}, found {task!r:.80}", param_hint="--task")
    made: Any = None
    if embedder is not None or text_model is not None:
        if (embedder or "text").lower() != "text":
            raise typer.BadParameter(f"expected text, found {embedder!r:.80}", param_hint="--embedder")
        from knowledge_plugin.building.embedders import TextEmbedder

        made = TextEmbedder() if text_model is None else TextEmbedder(text_model)
    probes = read_probes(data, task)
    plugin = open_plugin(artifact)
    checkpoint, tokenizer = load_language_model(model), load_tokenizer(model)
    report = propagation(plugin, checkpoint, tokenizer, probes, embedder=made, batch_size=batch_size, seed=seed)
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo(harmless(report))


def _refuse_to_replace(out: Path, allowed: bool, else_type: str = "") -> None:
    """Refuse a folder with a plugin in it; and, whatever is allowed, one with something else, before all the work."""
    about = ""
    try:
        config = read_config(out, KnowledgePluginConfig)
        if config.training is not None and config.training.steps is not None:
            about = f", which was trained for {config.training.steps} steps"
    except ArtifactError as error:
        if (out / CONFIG_NAME).exists():
            raise SaveError(f"{error} Nothing was changed. Name another folder, for example {out}-new") from error
        return
    except ConfigError:  # of a later version, or altered
        pass
    if not allowed:
        raise SaveError(
            f"{out} holds a plugin already{about}. Nothing was changed. Type: {else_type}--overwrite to begin anew and "
            "lose what is there; or name another folder."
        )


def _check_run(run: Path, resume: bool, overwrite: bool) -> None:
    """Make sure that what is left of a training is either gone on with or meant to be lost."""
    is_there = bool(_checkpoints(run))
    if resume and not is_there:
        raise TrainingError(f"{run}: expected a checkpoint to go on from, found none. Leave out --resume.")
    if is_there and not (resume or overwrite):
        raise SaveError(
            f"{run} holds checkpoints of a training. Nothing was changed. Type: --resume to go on with it, with the "
            "same options; --overwrite to begin anew and lose what is there; or name another folder."
        )


def _checkpoints(run: Path) -> list[Path]:
    return [path for path in run.glob("checkpoint-*") if path.is_dir()]


def _read_rows(path: Path, columns: list[str] | None) -> list[dict[str, Any]]:
    from knowledge_plugin.cli.rows import read_rows

    return read_rows(path, column_names(columns))


def _settings(given: list[str]) -> dict[str, Any]:
    """Return the settings of a method by name, each value as JSON if it is that, and else as text."""
    found = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not (key and equals):
            raise ConfigError(f"setting: expected KEY=VALUE, found {item!r:.80}. Type: --setting top=5")
        try:
            found[key] = json.loads(value, parse_constant=no_constant)
        except (ValueError, RecursionError):
            found[key] = value
    return found


def _knowledge_base(name: str) -> KnowledgeBase:
    inner = Path(name) / KNOWLEDGE_BASE_FOLDER
    return KnowledgeBase.from_pretrained(inner if inner.is_dir() else name)


def _show(title: str, values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(values)
    else:
        print_values(title, values)
