"""Knowledge from a generative model: it is asked for the missing fields of records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from knowledge_plugin.building.asking import answers
from knowledge_plugin.building.field_masking import Template, template_for
from knowledge_plugin.building.plausibility import Judge, check_judge, judge_records, model_name
from knowledge_plugin.building.records import (
    FIELDS,
    MAX_SEED,
    TEXT_FIELDS,
    Provenance,
    Record,
    checked,
    to_json,
    write_records,
)
from knowledge_plugin.building.stages import Stages, working_folder
from knowledge_plugin.errors import RecordError

_ASKED, _PARTS = "asked.jsonl", "parts.jsonl"
_OURS = {"num_return_sequences", "return_dict_in_generate"}  # how many answers there are, and in which form


def generate_records(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Iterable[Record],
    ask: Sequence[str] = ("inference",),
    *,
    output: str | Path | None = None,
    name: str | None = None,
    revision: str | None = None,
    per_record: int = 1,
    judge: Judge | None = "evidence",
    template: Template | None = None,
    generation: Mapping[str, Any] | None = None,
    batch_size: int = 16,
    seed: int = 0,
    progress: bool = True,
) -> list[Record]:
    """Ask a model for fields of records, and say of each that comes of it who generated it and how plausible it is.

    It is the use of NovaCOMET (West et al., Findings of EMNLP 2023) as a generator and critic in one: any fields are
    asked for, given any others. Several fields are asked for one after the other, each with those before it shown.

    Args:
        model: A seq2seq model that knows T5's sentinels, or a causal one, best fine-tuned on
            :func:`~knowledge_plugin.building.training_examples`. It is not changed.
        tokenizer: Its tokenizer.
        records: What is given. A field that is asked for is masked, also where a record has it. A plausibility that a
            record has is shown, as that of what is wanted: 1.0 asks for what is plausible.
        ask: The fields to ask for. With ``"plausibility"`` among them the judge is ``"field"``; alone, records stay
            those of whoever made them, and are only judged.
        output: A file to write to, as for :func:`~knowledge_plugin.building.write_records`. What is generated is kept
            beside it as it comes: the same call goes on where an interrupted one stood, and comes to the same.
        name: Of the model, for provenance; ``None`` takes the model's own.
        revision: Of the model, likewise.
        per_record: How many to generate for each record; more than one are sampled.
        judge: How plausibility is found, see :func:`~knowledge_plugin.building.judge_records`; ``None``: not at all.
        template: How records are written out; ``None`` for that of the model's kind.
        generation: Options of ``model.generate``, such as ``{"do_sample": True, "top_p": 0.9}``.
        batch_size: Records that are asked about together.
        seed: Of sampling. The state of torch's own generators is left as it is.
        progress: Show progress on stderr.

    Returns:
        ``per_record`` records for each, in order; one for each where only a plausibility is asked for. Where the model
        wrote nothing, the field is missing.

    Raises:
        RecordError: No such field, a model that cannot be asked or has no name, an option out of bounds or unknown to
            ``model.generate``, a text that is longer than the model reads, or something that is no record.
        SaveError: The output cannot be written, or another process writes it.
    """
    if isinstance(ask, str):
        ask = (ask,)
    if not ask or (set(ask) - set(FIELDS)):
        found = ", ".join(map(repr, ask)) or "none"
        raise RecordError(f"ask: expected some of {', '.join(FIELDS)}, found {found:.200}.")
    for option, value, least in (("per_record", per_record, 1), ("batch_size", batch_size, 1), ("seed", seed, 0)):
        if type(value) is not int or not least <= value <= MAX_SEED:
            raise RecordError(f"{option}: expected a whole number from {least} up, found {value!r:.80}.")
    if judge is not None:
        check_judge("judge", judge)
    if ours := sorted(_OURS & dict(generation or {}).keys()):
        raise RecordError(f"generation: expected other options than {', '.join(ours)}. Type: per_record=...")
    job = _Job(
        model=model,
        tokenizer=tokenizer,
        template=template_for(model, tokenizer, template),
        fields=tuple(field for field in TEXT_FIELDS if field in ask),
        name=name or model_name(model),
        revision=revision or getattr(model.config, "_commit_hash", None),
        per_record=per_record,
        judge="field" if "plausibility" in ask else judge,
        options={"max_new_tokens": 32} | ({"do_sample": True} if per_record > 1 else {}) | dict(generation or {}),
        batch_size=batch_size,
        seed=seed,
    )
    given = list(checked(records))
    if output is None:
        return [record for batch in job.run(given, 0, progress) for record in batch]
    output = Path(output)
    if output.suffix.lower() not in (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"):
        raise RecordError(f"output: expected a file that ends in .jsonl, .csv or .parquet, found {output.name!r:.200}.")
    with working_folder(output) as folder:
        stages = Stages(folder)
        stages.run("asked", {"records": _digest(map(to_json, given))}, partial(_keep, given))
        where, _ = stages.run("generated", job.inputs(), partial(_continue, job, given, progress))
        made = [record for batch in _read_parts(where / _PARTS) for record in batch]
        write_records(output, made)
    return made


@dataclass(frozen=True)
class _Job:
    """What is asked, of whom and how."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: Template
    fields: tuple[str, ...]
    name: str
    revision: str | None
    per_record: int
    judge: Judge | None
    options: dict[str, Any]
    batch_size: int
    seed: int

    def inputs(self) -> dict[str, Any]:
        """Return all that what is generated depends on, but for the records."""
        weights = (f"{n}{p.shape}{p.detach().flatten()[:8].tolist()}" for n, p in self.model.named_parameters())
        return {
            "model": [self.name, self.revision, type(self.model).__name__, _digest(weights)],
            "defaults": str(getattr(self.model, "generation_config", None)),
            "template": asdict(self.template),
            "fields": self.fields,
            "options": [self.per_record, self.judge, self.options, self.batch_size, self.seed],
        }

    def run(self, records: Sequence[Record], start: int, progress: bool) -> Iterator[list[Record]]:
        """Yield what is generated, a batch at a time, from a batch on."""
        starts = range(start * self.batch_size, len(records), self.batch_size)
        shown = track(starts, "generating", console=Console(stderr=True), disable=not progress, transient=True)
        for at in shown:
            with torch.random.fork_rng():
                # Of each batch, so that one that comes after an interruption is what it would have been without.
                torch.manual_seed((self.seed * 1_000_003 + at) % 2**63)
                made = self._batch(records[at : at + self.batch_size])
            if self.judge is not None:
                made = judge_records(
                    self.model, self.tokenizer, made, self.judge, name=self.name, template=self.template,
                    batch_size=self.batch_size, progress=False,
                )  # fmt: skip
            yield made

    def _batch(self, records: Sequence[Record]) -> list[Record]:
        if not self.fields:  # only a plausibility is asked for
            return list(records)
        made = [self._without(record) for record in records]
        for i, field in enumerate(self.fields):
            options = self.options | ({"num_return_sequences": self.per_record} if i == 0 else {})
            inputs = [self.template.masked(record, [field]).input for record in made]
            found = answers(self.model, self.tokenizer, inputs, self.template, options)
            if i == 0:
                made = [record for record in made for _ in range(self.per_record)]
            made = [_with(record, field, text) for record, text in zip(made, found, strict=True)]
        return [self._signed(record) for record in made]

    def _without(self, record: Record) -> Record:
        for field in self.fields:
            record = _with(record, field, None)
        return record

    def _signed(self, record: Record) -> Record:
        source = record.provenance.source if record.provenance is not None else None
        by = Provenance(self.name, True, self.revision, self.template.hash, self.seed, source)
        # The plausibility that was wished for is not that of what came.
        return replace(record, plausibility=None, provenance=by)


def _with(record: Record, field: str, text: str | None) -> Record:
    values: dict[str, Any] = {field: text}
    return replace(record, **values)


def _keep(records: Sequence[Record], folder: Path) -> dict[str, Any]:
    return {"records": write_records(folder / _ASKED, records)}


def _continue(job: _Job, records: Sequence[Record], progress: bool, folder: Path) -> dict[str, Any]:
    path = folder / _PARTS
    done = list(_read_parts(path))
    whole = "".join(f"{_part(batch)}\n" for batch in done).encode()
    with open(path, "ab") as file:
        file.truncate(len(whole))  # a line that was cut off is asked for again
        for batch in job.run(records, len(done), progress):
            file.write(f"{_part(batch)}\n".encode())
            file.flush()
    return {"batches": -(-len(records) // job.batch_size)}


def _part(batch: Sequence[Record]) -> str:
    return json.dumps([record.to_row() for record in batch])


def _read_parts(path: Path) -> Iterator[list[Record]]:
    if not path.is_file():
        return
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.endswith("\n"):
                return
            yield [Record.from_row(row) for row in json.loads(line)]


def _digest(texts: Iterable[str]) -> str:
    found = hashlib.sha256()
    for text in texts:
        found.update(f"{text}\n".encode())
    return found.hexdigest()
