"""Knowledge in weights, or what is there already: a decoder reads mentions of a model that no plugin is attached to."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments

from knowledge_plugin.errors import SaveError, TrainingError
from knowledge_plugin.hub.markdown import as_text
from knowledge_plugin.injection.attachment import attachments
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking import DictionaryLinker, Linker
from knowledge_plugin.modes import modes_kept
from knowledge_plugin.objectives.collator import checked_rows
from knowledge_plugin.objectives.describing import Describing, nothing_to_describe
from knowledge_plugin.objectives.descriptions import DescribingCollator, with_something_wanted
from knowledge_plugin.objectives.scoring import NoLoss
from knowledge_plugin.training.frozen import config_kept
from knowledge_plugin.training.side_modules import SUBMODULE, SideModules

_ROWS_LOOKED_AT = 512
_DECODER = "describe"
_CARD = """\
---
library_name: peft
{base}tags:
- baked-in-knowledge
---

# {name}, baked into weights

A LoRA that learned to describe the entities of a knowledge base, at their mentions, to a decoder that is gone. It is a
**baked-in delta, and no knowledge plugin**:

- What it holds of *{name}*{version} ({entities:,} entities{license}) is in its weights. No entity can be corrected,
  added, removed or looked up; it can be taken off as a whole, and nothing less.
- It knows entities that it was trained on, if any. Of others it knows nothing, whatever a knowledge base says of them.
- It belongs to the very checkpoint that it was trained on.

{steps:,} steps, batch {batch}, learning rate {rate:g}, seed {seed}.
"""


class DescribingTrainer(Trainer):
    """A ``transformers.Trainer`` in which a decoder learns to write what is known of mentions from their states alone.

    What else learns is up to the model. With an adapter of PEFT, its weights do, so that knowledge is *baked in*:
    ``save_model`` writes the adapter, and its card says so. Without any weight that learns, it is a *probe*: the
    decoder finds what the states of the model hold already, nothing is injected, and ``save_model`` writes nothing.

    After UNTER (Ye et al., 2023), of which the abstract alone was at hand: the decoder as the one interface of triples
    and text is theirs, the rest is a reconstruction. They train all weights, and a language model's loss along.

    Args:
        model: A frozen model, or a ``PeftModel``, with whatever head; no plugin attached.
        args: Training arguments.
        knowledge_base: What is to be written, where rows have no ``triples``; and whose mentions count.
        processing_class: The model's tokenizer.
        linker: Finds mentions where rows have none; without it, the names of the knowledge base are looked for.
        train_dataset: Rows with ``text``, perhaps ``mentions``, perhaps ``triples``; see
            :class:`~knowledge_plugin.objectives.descriptions.DescribingCollator`.
        **kwargs: Passed to Trainer.

    Attributes:
        describing: The decoder; ``describing.tell(...)`` reads out.

    Raises:
        TrainingError: Weights learn and the model is no ``PeftModel``, a plugin is attached, the model is an
            encoder-decoder, or there is no tokenizer.

    Example:
        >>> model = get_peft_model(encoder, LoraConfig(target_modules=["query", "value"]))  # doctest: +SKIP
        >>> trainer = DescribingTrainer(model, TrainingArguments("runs/baked"), knowledge_base=kb,
        ...     processing_class=tokenizer, train_dataset=[{"text": "The museum in Graz opened."}])  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments | None = None,
        *,
        knowledge_base: KnowledgeBase,
        processing_class: PreTrainedTokenizerBase | None = None,
        linker: Linker | None = None,
        **kwargs: Any,
    ) -> None:
        self.bakes = _bakes(model)
        if processing_class is None:
            raise TrainingError(
                "a tokenizer is needed to make batches. Type: DescribingTrainer(..., processing_class=...)"
            )
        if attachments(model):
            raise TrainingError("a plugin is attached: what it says would be described. Type: plugin.detach(model)")
        if (lacking := nothing_to_describe(model, processing_class, "concat")) is not None:
            raise TrainingError(f"describe: expected {lacking}; found {type(model).__name__}.")
        if linker is None and knowledge_base.config.linker != "external":
            linker = DictionaryLinker(knowledge_base)
        self.knowledge_base = knowledge_base
        collator = DescribingCollator().read_alone(processing_class, knowledge_base, linker)
        with config_kept(model):
            super().__init__(
                model=model, args=args, data_collator=collator, compute_loss_func=NoLoss(), **kwargs
            )  # fmt: skip
        self.label_names = ["labels"]
        # Rows of a stream so far of which nothing was to be written; None once there was one, or where that is known.
        self._rows_without_mention: int | None = None
        self.side_modules = SideModules({_DECODER: Describing.of(model).to(self.args.device)})

    model: nn.Module
    _signature_columns: Any

    @property
    def describing(self) -> Describing:
        """The decoder."""
        return self.side_modules[_DECODER]  # type: ignore[return-value]

    @describing.setter
    def describing(self, decoder: Describing) -> None:
        self.side_modules[_DECODER] = decoder

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train the decoder, and the adapter if there is one; see ``transformers.Trainer.train``."""
        self._check_rows()
        with modes_kept(self.model), config_kept(self.model), self.side_modules.learning_in(self.model):
            result = super().train(*args, **kwargs)
        if self._rows_without_mention:
            raise self._nothing_wanted(self._rows_without_mention)
        return result

    def _check_rows(self) -> None:
        """Without a mention of which something is known, training would run to its end and teach nothing."""
        data: Any = self.train_dataset
        if data is None:
            raise TrainingError("there is no training data. Type: DescribingTrainer(..., train_dataset=...)")
        self._rows_without_mention = 0
        if not hasattr(data, "__len__"):
            return  # a stream may give each row but once: see training_step
        collator: Any = self.data_collator
        rows = checked_rows(data, collator, _ROWS_LOOKED_AT)
        if not any(with_something_wanted(None, collator(rows))):
            raise self._nothing_wanted(len(rows))
        self._rows_without_mention = None

    def _nothing_wanted(self, rows: int) -> TrainingError:
        return TrainingError(
            f"the first {rows} rows of the training data mention no entity of {self.knowledge_base!r} of which there "
            "is anything to write: expected a description of some, or rows with 'triples'."
        )

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Look at what the data is like; see ``transformers.Trainer.training_step``."""
        if self._rows_without_mention is not None:
            self._rows_without_mention += len(inputs["input_ids"])
            if len(inputs["places"]):
                self._rows_without_mention = None
            elif self._rows_without_mention >= _ROWS_LOOKED_AT:
                raise self._nothing_wanted(self._rows_without_mention)
        return super().training_step(model, inputs, *args, **kwargs)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, *args: Any, **kwargs: Any
    ) -> Any:
        """Compute the loss of what is written; see ``transformers.Trainer.compute_loss``."""
        with NoLoss().scoring(self.model, inputs["labels"]), self.describing.step(self.model, None, inputs) as added:
            value, outputs = super().compute_loss(model, inputs, True, *args, **kwargs)
            # Trainer adds up losses of accumulated batches as parts of one mean; an evaluation accumulates nothing.
            parts = self.current_gradient_accumulation_steps if model.training else 1
            value = value + added(outputs) / parts  # type: ignore[operator]
        return (value, outputs) if return_outputs else value

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate without dropout, in the decoder too; see ``transformers.Trainer.evaluation_loop``."""
        self.describing.eval()
        return super().evaluation_loop(*args, **kwargs)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns = list(dict.fromkeys([*self._signature_columns, *DescribingCollator.columns]))

    # ---- checkpoints ----------------------------------------------------------------------------------------------

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if self.args.should_save and self.bakes:
            # An adapter that has all biases would take the decoder's along.
            weights = {name: w for name, w in self.model.state_dict().items() if not name.startswith(SUBMODULE)}
            with _beside(Path(output_dir or str(self.args.output_dir))) as beside:
                self.model.save_pretrained(beside, state_dict=weights)  # type: ignore[operator]
                (beside / "README.md").write_text(self._card(), encoding="utf-8")

    def _card(self) -> str:
        config, adapters = self.knowledge_base.config, getattr(self.model, "peft_config", {})
        base_model = next((adapter.base_model_name_or_path for adapter in adapters.values()), None)
        return _CARD.format(
            base=f"base_model: {json.dumps(base_model)}\n" if base_model else "",
            name=as_text(config.name) or "a knowledge base",
            version=f", version {as_text(config.version)}" if config.version else "",
            license=f", {as_text(config.license)}" if config.license else "",
            entities=len(self.knowledge_base),
            steps=self.state.global_step,
            batch=self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size,
            rate=self.args.learning_rate,
            seed=self.args.seed,
        )

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.args.should_save:
            self.side_modules.save(output_dir)
        super()._save_optimizer_and_scheduler(output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.bakes:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.side_modules.load(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        if self.bakes:
            super()._load_best_model()
        if not self.args.save_only_model:
            self.side_modules.load(str(self.state.best_model_checkpoint))


def _bakes(model: nn.Module) -> bool:
    """Return whether an adapter of PEFT is to learn; a model of which nothing learns is probed."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return False
    if not callable(getattr(model, "get_base_model", None)):
        raise TrainingError(
            f"{type(model).__name__}: expected a model that is frozen, or one with an adapter of PEFT; found weights "
            "that would learn and could not be taken off again. Type: model.requires_grad_(False), to find what it "
            "knows; or get_peft_model(model, LoraConfig(...)), to bake knowledge into an adapter."
        )
    return True


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Yield a folder to write into; only when all is written do its files move to ``folder``.

    Raises:
        SaveError: The disk is full, or the folder cannot be written.
    """
    staging: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".baking.", dir=folder))
        yield staging
        for path in sorted(staging.rglob("*")):
            if path.is_dir():
                (folder / path.relative_to(staging)).mkdir(exist_ok=True)
            else:
                os.replace(path, folder / path.relative_to(staging))
    except OSError as error:
        raise SaveError(f"{folder}: the adapter could not be written: {error}.") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
