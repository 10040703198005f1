"""Map-tuning: the mapping network learns through the frozen model."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import IterableDataset
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from knowledge_plugin.arguments import check_plugin
from knowledge_plugin.config import Form, TokenInjectionConfig
from knowledge_plugin.data_rows import EXAMPLE, EXAMPLE_OF_ANSWER, check_rows
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.answers import generates, predicts_words
from knowledge_plugin.injection.attachment import Attachment
from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.injection.hook import Hook, find_hooks
from knowledge_plugin.injection.tokenizer import base_tokenizer
from knowledge_plugin.linking import Linker
from knowledge_plugin.objectives.base import Objective
from knowledge_plugin.objectives.collator import LinkingCollator, checked_rows
from knowledge_plugin.objectives.side import SideModule
from knowledge_plugin.plugin import MAPPING_NAME, KnowledgePlugin
from knowledge_plugin.registry import find_method
from knowledge_plugin.training.frozen import config_kept, frozen
from knowledge_plugin.training.record import record_of
from knowledge_plugin.training.side_modules import SideModules

# Under this name the mapping is a submodule of the model while it trains, and at no other time.
_SUBMODULE = "knowledge_mapping"
_RESERVED = {Path(MAPPING_NAME).stem, "model"}  # whose files lie in a checkpoint too
_ROWS_LOOKED_AT = 512
# A classifier that has seen the very sentences before answers them with a loss near zero, and teaches nothing.
_FIRST_STEPS, _NEAR_ZERO = 8, 0.1
_TYPE_TOKENIZER = "Type: MapTuningTrainer(..., processing_class=tokenizer)"


class MapTuningTrainer(Trainer):
    """A ``transformers.Trainer`` in which only the mapping network learns.

    The model runs in train mode (its dropout is at work) but no parameter of it changes. ``save_model`` and
    checkpoints write the plugin, not the model. Everything else is Trainer's: schedules, mixed precision,
    accumulation, callbacks, early stopping, the best checkpoint at the end, resuming.

    Use sentences that the checkpoint was *not* fine-tuned on: there its loss is near zero already and says nothing.

    Args:
        model: The frozen checkpoint, with whatever head.
        args: Training arguments.
        plugin: The plugin whose mapping learns. If it is attached to the model, it stays so; if not, it is attached
            while training or evaluating, with ``processing_class``.
        objective: What the mapping learns from.

            - ``"task"``: the loss that the model itself returns, whatever its head. Task-specific map-tuning.
            - ``"mention-mlm"``: a masked language model predicts masked mentions beside their entities. General
              map-tuning: one mapping for all checkpoints of the family (Zhang et al., 2023, section 3.3).
            - ``"mention-clm"``: a decoder predicts a mention after its entity, and the rest of the text.
            - ``"mention-seq2seq"``: a model like T5 fills in the mentions.
            - ``"describe"``: a decoder that learns beside the mapping reads the state of a mention and nothing else,
              and writes the entity's description, or objects of triples (after UNTER; Ye et al., 2023).

            Those are map-tuning's. Methods that look entries up learn from ``"task"``, which shows each batch its own
            entries among others and also teaches to find the one that a row mentions; knowledge in attention from
            ``"task-or-refuse"`` too, which sometimes does not show it, and asks for a refusal.
        train_dataset: For ``"task"``, rows with ``text`` and ``label`` (perhaps ``text_pair``, ``mentions``), or rows
            tokenized by the attachment's tokenizer. The label may be a text, as in ``{"text": "Ada lives in", "label":
            "Graz"}``: a decoder reads it behind ``text`` and learns from it alone, an encoder-decoder is to write it;
            entities are linked in ``text`` and never in the label. Methods that look entries up want ``text``, and no
            tokenized rows: which entry a row is about must be known. For the others rows with ``text``, perhaps
            ``mentions``; for ``"describe"`` perhaps ``triples``, ``[[entity id, relation, object], ...]`` in words,
            instead of the knowledge base's descriptions.
        eval_dataset: The same. Of the mention objectives all mentions are asked for, the same at each evaluation.
        processing_class: The model's tokenizer.
        data_collator: For rows tokenized by the attachment's tokenizer, with ``"task"``. As with Trainer, it sees the
            columns that the model's forward takes, unless ``args.remove_unused_columns`` is false.
        base_dropout: Dropout of the frozen model while training. ``None`` stands for 0.25 with the mention objectives,
            so that the mapping does not rely on the text around a mention alone, and else for the model's own.
        linker: As in :meth:`KnowledgePlugin.attach`.
        form: As in :meth:`KnowledgePlugin.attach`; the plugin keeps the form that it was trained in.
        auxiliary: Losses that are added to the objective's, by names of yours, such as ``{"relations":
            RelationDecoding(...)}``. What they learn is written into checkpoints, and is no part of the plugin.
        **kwargs: Passed to Trainer.

    Raises:
        TrainingError: An unknown objective, a missing tokenizer, what is no loss in ``auxiliary``, or no mention in
            the data.

    Example:
        >>> trainer = MapTuningTrainer(  # doctest: +SKIP
        ...     model=classifier, plugin=plugin, objective="task", processing_class=tokenizer,
        ...     args=TrainingArguments("runs/plugin", learning_rate=1e-3, num_train_epochs=2),
        ...     train_dataset=[{"text": "The museum in Graz opened.", "label": 3}])
        >>> trainer.train()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments | None = None,
        *,
        plugin: KnowledgePlugin,
        objective: str = "task",
        processing_class: PreTrainedTokenizerBase | None = None,
        data_collator: Any = None,
        base_dropout: float | None = None,
        linker: Linker | None = None,
        form: Form | None = None,
        auxiliary: Mapping[str, SideModule] | None = None,
        **kwargs: Any,
    ) -> None:
        check_plugin(plugin, TrainingError)
        self.objective: Objective = find_method(plugin.config.injection.method).find_objective(objective)
        self._objective_name = objective
        if base_dropout is not None and not 0 <= base_dropout < 1:
            raise TrainingError(f"base_dropout: expected a probability from 0 to below 1, found {base_dropout}.")
        if objective != "task" and data_collator is not None:
            raise TrainingError(f"the objective {objective!r} makes batches of its own: leave out data_collator.")
        if processing_class is None and data_collator is None:
            raise TrainingError(f"a tokenizer is needed to make batches. {_TYPE_TOKENIZER}")
        if processing_class is not None:
            lacking = self.objective.missing(model, base_tokenizer(processing_class), form or _form(plugin))
            if lacking is not None:
                raise TrainingError(f"{objective}: expected {lacking}; found {type(model).__name__}.")
        _check_auxiliary({} if auxiliary is None else auxiliary, objective)
        self.plugin = plugin
        self.base_dropout = self.objective.base_dropout if base_dropout is None else base_dropout
        self._tokenizer = processing_class
        self._linker, self._form = linker, form
        self._attachment: Attachment | None = None
        # Rows trained on so far without a mention; None once there was one, or where that was checked beforehand.
        self._rows_without_mention: int | None = None
        self._first_losses: list[float] = []
        self._share_with_mention: float | None = None
        self._started: float | None = None
        # The tokenizer stays here: Trainer would write its special tokens into the frozen model's config.
        collator = data_collator or self.objective.collator(args.seed if args is not None else 42)
        if self.objective.loss is not None:
            kwargs["compute_loss_func"] = self.objective.loss
        with config_kept(model):
            super().__init__(model=model, args=args, data_collator=collator, **kwargs)
        if hasattr(collator, "epoch"):  # it draws
            self.add_callback(_CountEpochs(collator))
        if self.objective.loss is not None:
            self.label_names = ["labels"]  # also of a model whose forward takes none
        # Made after Trainer has set the seed.
        self.side_modules = SideModules(auxiliary)
        if self.objective.side is not None and processing_class is not None:
            self.side_modules[objective] = self.objective.side(model, base_tokenizer(processing_class))

    model: nn.Module
    side_modules: SideModules  # what learns beside the mapping
    _signature_columns: Any

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train the mapping; see ``transformers.Trainer.train``."""
        model, mapping = self.model, self.plugin.mapping
        with self._attached() as hook, ExitStack() as afterwards:
            self._check_mentions(hook)
            self.plugin.results = []  # they were another mapping's
            self._started = time.monotonic()
            afterwards.callback(self._end_record)
            injection = self.plugin.config.injection
            # The mapping learns for this form, and is to be attached in it.
            if hook.attachment is not None and isinstance(injection, TokenInjectionConfig):
                injection = replace(injection, form=hook.attachment.form)
                self.plugin.config = replace(self.plugin.config, injection=injection)
            afterwards.enter_context(frozen(model, self.base_dropout))
            afterwards.enter_context(config_kept(model))
            if hasattr(getattr(model, "config", None), "use_cache"):
                model.config.use_cache = self.args.use_cache  # type: ignore[union-attr]
            # Registered, so that the optimizer, Accelerate and DistributedDataParallel find its parameters.
            model.add_module(_SUBMODULE, mapping.requires_grad_(True))
            afterwards.callback(mapping.eval)
            afterwards.callback(mapping.requires_grad_, False)
            afterwards.callback(model._modules.pop, _SUBMODULE)
            afterwards.enter_context(self.side_modules.learning_in(model))
            result = super().train(*args, **kwargs)
            if self._rows_without_mention:
                raise self._no_mention(self._rows_without_mention)
            return result

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Look at what the data and the loss are like; see ``transformers.Trainer.training_step``."""
        if self._rows_without_mention is not None:
            hook = self._find_hook()
            self._rows_without_mention += len(inputs["input_ids"])
            if hook is not None and any(self.objective.knows(hook, inputs)):
                self._rows_without_mention = None
            elif self._rows_without_mention >= _ROWS_LOOKED_AT:
                raise self._no_mention(self._rows_without_mention)
        labels = inputs.get("labels")
        loss = super().training_step(model, inputs, *args, **kwargs)
        if isinstance(labels, torch.Tensor) and not labels.is_floating_point():
            self._look_at_first_losses(float(loss))
        return loss

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, *args: Any, **kwargs: Any
    ) -> Any:
        """Compute the loss, at scored places alone where it is ours; see ``transformers.Trainer.compute_loss``."""
        self._check_loss(inputs)
        loss = self.objective.loss
        steps: list[Any] = [] if self.objective.step is None else [self.objective.step]
        steps += [side.step for _, side in self.side_modules.named()]
        with ExitStack() as around:
            if loss is not None:
                around.enter_context(loss.scoring(self.model, inputs["labels"]))
            if not steps:
                return super().compute_loss(model, inputs, return_outputs, *args, **kwargs)
            hook: Any = self._find_hook()
            added = [around.enter_context(step(self.model, hook, inputs)) for step in steps]
            value, outputs = super().compute_loss(model, inputs, True, *args, **kwargs)
            # Of accumulated batches Trainer adds up losses that are parts of one mean already; an evaluation has none.
            is_part = model.training and self._is_part(inputs, *args, **kwargs)
            parts = self.current_gradient_accumulation_steps if is_part else 1
            for more in (each(outputs) for each in added):
                value = value if more is None else value + more.to(value.device) / parts
        return (value, outputs) if return_outputs else value

    def _is_part(self, inputs: dict[str, Any], num_items_in_batch: Any = None) -> bool:
        """Return whether Trainer leaves a loss as it is, and does not divide it by how many batches are accumulated."""
        return self.compute_loss_func is not None or (num_items_in_batch is not None and self.model_accepts_loss_kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate with the plugin attached; see ``transformers.Trainer.evaluate``."""
        with self._attached():
            return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict with the plugin attached; see ``transformers.Trainer.predict``."""
        with self._attached():
            return super().predict(*args, **kwargs)

    @contextmanager
    def _attached(self) -> Iterator[Hook]:
        with self._hooked() as hook:
            self.side_modules.to(hook.mapping.device).eval()
            yield hook

    @contextmanager
    def _hooked(self) -> Iterator[Hook]:
        if (hook := self._find_hook()) is not None:
            if hook.attachment is not None and hook.attachment is not self._attachment:
                self._use(hook.attachment)
            yield hook
            return
        if self._tokenizer is None:
            raise TrainingError(f"the plugin is not attached to the model. {_TYPE_TOKENIZER}")
        with self.plugin.attach(self.model, self._tokenizer, linker=self._linker, form=self._form) as attachment:
            self._attachment = attachment
            if isinstance(self.data_collator, LinkingCollator):
                self.data_collator.use(attachment)
            yield self._find_hook()  # type: ignore[misc]

    def _use(self, attachment: Attachment) -> None:
        """Train with an attachment that somebody else made."""
        if self._linker is not None or self._form not in (None, attachment.form):
            raise TrainingError(
                "the plugin is attached already, with a linker and a form of its own: linker= and form= would change "
                "nothing. Leave them out, or type: plugin.detach(model)"
            )
        if isinstance(self.data_collator, LinkingCollator):
            self.data_collator.use(attachment)

    def _find_hook(self) -> Hook | None:
        return next((hook for hook in find_hooks(self.model) if hook.mapping is self.plugin.mapping), None)

    def _check_mentions(self, hook: Hook) -> None:
        """Training without a mention would run to its end and teach the mapping nothing."""
        data: Any = self.train_dataset
        if data is None:
            raise TrainingError("there is no training data. Type: MapTuningTrainer(..., train_dataset=...)")
        self._rows_without_mention = None
        if isinstance(data, IterableDataset) or not hasattr(data, "__len__"):
            self._rows_without_mention = 0  # a stream may give each row but once: see training_step
            return
        collate = self._get_collator_with_removed_columns(self.data_collator)
        rows = self._checked_rows(data)
        batches = [collate(rows[i : i + 64]) for i in range(0, len(rows), 64)]
        self._check_loss(batches[0], rows[0])
        linked = [known for batch in batches for known in self.objective.knows(hook, batch)]
        if not any(linked):
            raise self._no_mention(len(rows))
        self._share_with_mention = sum(linked) / len(linked)

    def _checked_rows(self, data: Any) -> Sequence[Any]:
        """Return the first rows; before, look at the form of all of them that are in memory anyway."""
        if isinstance(self.data_collator, LinkingCollator):
            return checked_rows(data, self.data_collator, _ROWS_LOOKED_AT)
        if not len(data):
            check_rows(data, [], TrainingError)  # says what is wrong
        return [data[i] for i in range(min(len(data), _ROWS_LOOKED_AT))]

    def _check_loss(self, inputs: Mapping[str, Any], row: Any = None) -> None:
        """Make sure that the model is given what it computes its loss of."""
        names = self.label_names
        if self.compute_loss_func is not None or not names or any(name in inputs for name in names):
            return
        example = EXAMPLE_OF_ANSWER if generates(self.model) and predicts_words(self.model) else EXAMPLE
        found = f"; found the columns {sorted(map(str, row))}" if isinstance(row, Mapping) else ""
        raise TrainingError(
            f"the rows have no 'label', and the loss of {type(bare_model(self.model)).__name__} is that of labels: "
            f"expected rows such as {example}{found}."
        )

    def _no_mention(self, rows: int) -> TrainingError:
        return TrainingError(
            f"the first {rows} rows of the training data mention no entity of {self.plugin.knowledge_base!r}: "
            "the mapping could learn nothing. Look at attachment.explain(text) for one of your texts; rows that "
            "are tokenized must come from the attachment's tokenizer; and of the entities the objective "
            f"{self._objective_name!r} may want more than names, such as descriptions."
        )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if isinstance(self.data_collator, LinkingCollator):  # another may not know what to do with a text
            self._signature_columns = list(dict.fromkeys([*self._signature_columns, *self.data_collator.columns]))

    def _look_at_first_losses(self, loss: float) -> None:
        steps = _FIRST_STEPS * self.args.gradient_accumulation_steps
        if len(self._first_losses) == steps:
            return
        self._first_losses.append(loss)
        # What one step accumulates adds up to its mean loss.
        if len(self._first_losses) == steps and (mean := sum(self._first_losses) / _FIRST_STEPS) < _NEAR_ZERO:
            warnings.warn(
                f"the loss is {mean:.3f} from the start: the frozen model knows these rows by heart, probably because "
                "it was fine-tuned on them, and the mapping can learn next to nothing from them. Train on rows that it "
                "has not seen; or type MapTuningTrainer(..., base_dropout=0.25), which helps a little.",
                stacklevel=2,
            )

    # ---- batches --------------------------------------------------------------------------------------------------

    def get_eval_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """Return batches in which nothing is drawn at random; see ``transformers.Trainer.get_eval_dataloader``."""
        with self._nothing_drawn():
            return super().get_eval_dataloader(*args, **kwargs)

    def get_test_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """Return batches in which nothing is drawn at random; see ``transformers.Trainer.get_test_dataloader``."""
        with self._nothing_drawn():
            return super().get_test_dataloader(*args, **kwargs)

    @contextmanager
    def _nothing_drawn(self) -> Iterator[None]:
        collator = self.data_collator
        if isinstance(collator, LinkingCollator):
            self.data_collator = collator.for_evaluation()
        try:
            yield
        finally:
            self.data_collator = collator

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        grouped = self._grouped_by_length(self.train_dataset if train_dataset is None else train_dataset, batch)
        return super()._get_train_sampler(train_dataset) if grouped is None else grouped

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        grouped = self._grouped_by_length(eval_dataset, self.args.eval_batch_size)
        return super()._get_eval_sampler(eval_dataset) if grouped is None else grouped

    def _grouped_by_length(self, data: Any, batch: int) -> LengthGroupedSampler | None:
        """Do for rows of text what Trainer does for tokenized ones, if it is asked to group them by length."""
        if self.args.train_sampling_strategy != "group_by_length" or not hasattr(data, "__len__") or len(data) == 0:
            return None
        if "text" not in data[0] or "input_ids" in data[0]:
            return None
        return LengthGroupedSampler(batch, lengths=[len(data[i]["text"]) for i in range(len(data))])

    # ---- checkpoints ----------------------------------------------------------------------------------------------

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if self.args.should_save:
            self._record()
            self.plugin.save_pretrained(output_dir or str(self.args.output_dir))

    def _record(self) -> None:
        if self._started is not None and self.state.global_step > 0:
            seconds = time.monotonic() - self._started
            training = record_of(self, self._objective_name, self.base_dropout, self._share_with_mention, seconds)
            self.plugin.config = replace(self.plugin.config, training=training)

    def _end_record(self) -> None:
        self._record()
        self._started = None

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        # With what only a run that is resumed needs, so that a plugin that is saved has no part of it.
        if self.args.should_save:
            self.side_modules.save(output_dir)
        super()._save_optimizer_and_scheduler(output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.plugin.mapping.load(Path(resume_from_checkpoint) / MAPPING_NAME)
        self.side_modules.load(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        best = Path(str(self.state.best_model_checkpoint))
        self.plugin.mapping.load(best / MAPPING_NAME)
        if not self.args.save_only_model:
            self.side_modules.load(best)


def _check_auxiliary(auxiliary: Mapping[str, SideModule], objective: str) -> None:
    if not isinstance(auxiliary, Mapping):
        raise TrainingError(
            f"auxiliary: expected losses by name, found a {type(auxiliary).__name__}. Type: auxiliary={{'relations': "
            "RelationDecoding(...)}"
        )
    taken = _RESERVED | {objective}
    for name, loss in auxiliary.items():
        if not isinstance(name, str) or not name.isidentifier() or name in taken or hasattr(SideModules(), name):
            raise TrainingError(
                "auxiliary: expected names that files of a checkpoint may have, such as 'relations', found "
                f"{name!r:.80}."
            )
        if not isinstance(loss, SideModule):
            raise TrainingError(
                f"auxiliary: expected a SideModule of the name {name!r:.80}, such as RelationDecoding(...), found a "
                f"{type(loss).__name__}."
            )


def _form(plugin: KnowledgePlugin) -> Form:
    injection = plugin.config.injection
    return injection.form if isinstance(injection, TokenInjectionConfig) else "concat"


class _CountEpochs(TrainerCallback):
    """Tells the collator which epoch it is, so that it draws other mentions in each."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.collator.epoch = int(state.epoch or 0)
