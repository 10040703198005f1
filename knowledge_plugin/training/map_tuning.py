"""Map-tuning: the mapping network learns through the frozen model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.data import IterableDataset
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments

from knowledge_plugin.config import Form
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.attachment import Attachment
from knowledge_plugin.injection.hook import EmbeddingHook, find_hooks
from knowledge_plugin.linking import Linker
from knowledge_plugin.plugin import MAPPING_NAME, KnowledgePlugin
from knowledge_plugin.training.collator import TEXT_COLUMNS, TaskCollator
from knowledge_plugin.training.frozen import config_kept, frozen

# Under this name the mapping is a submodule of the model while it trains, and at no other time.
_SUBMODULE = "knowledge_mapping"
_ROWS_LOOKED_AT = 512
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
        objective: ``"task"``: the loss that the model itself returns.
        train_dataset: Rows with ``text`` and ``label`` (perhaps ``text_pair``, ``mentions``), or rows tokenized by the
            attachment's tokenizer.
        eval_dataset: The same.
        processing_class: The model's tokenizer.
        data_collator: Instead of :class:`TaskCollator`, for tokenized rows. As with Trainer, it sees the columns that
            the model's forward takes, unless ``args.remove_unused_columns`` is false.
        base_dropout: Dropout of the frozen model while training, ``None`` for its own.
        linker: As in :meth:`KnowledgePlugin.attach`.
        form: As in :meth:`KnowledgePlugin.attach`; the plugin keeps the form that it was trained in.
        **kwargs: Passed to Trainer.

    Raises:
        TrainingError: An unknown objective, a missing tokenizer, or no mention in the data.

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
        objective: Literal["task"] = "task",
        processing_class: PreTrainedTokenizerBase | None = None,
        data_collator: Any = None,
        base_dropout: float | None = None,
        linker: Linker | None = None,
        form: Form | None = None,
        **kwargs: Any,
    ) -> None:
        if objective != "task":
            raise TrainingError(f"objective: expected 'task', found {objective!r}.")
        if base_dropout is not None and not 0 <= base_dropout < 1:
            raise TrainingError(f"base_dropout: expected a probability from 0 to below 1, found {base_dropout}.")
        if processing_class is None and data_collator is None:
            raise TrainingError(f"a tokenizer is needed to make batches. {_TYPE_TOKENIZER}")
        self.plugin = plugin
        self.base_dropout = base_dropout
        self._tokenizer = processing_class
        self._linker, self._form = linker, form
        self._attachment: Attachment | None = None
        # Rows trained on so far without a mention; None once there was one, or where that was checked beforehand.
        self._rows_without_mention: int | None = None
        # The tokenizer stays here: Trainer would write its special tokens into the frozen model's config.
        collator = data_collator or TaskCollator(processing_class)
        with config_kept(model):
            super().__init__(model=model, args=args, data_collator=collator, **kwargs)

    model: nn.Module
    _signature_columns: Any

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train the mapping; see ``transformers.Trainer.train``."""
        model, mapping = self.model, self.plugin.mapping
        with self._attached() as hook, ExitStack() as afterwards:
            self._check_mentions(hook)
            if hook.attachment is not None:  # the mapping learns for this form, and is to be attached in it
                injection = replace(self.plugin.config.injection, form=hook.attachment.form)
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
            result = super().train(*args, **kwargs)
            if self._rows_without_mention:
                raise self._no_mention(self._rows_without_mention)
            return result

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Look for mentions in what a stream gives; see ``transformers.Trainer.training_step``."""
        if self._rows_without_mention is not None:
            hook, ids = self._find_hook(), inputs["input_ids"]
            self._rows_without_mention += len(ids)
            if hook is not None and hook.ids.any_in(ids):
                self._rows_without_mention = None
            elif self._rows_without_mention >= _ROWS_LOOKED_AT:
                raise self._no_mention(self._rows_without_mention)
        return super().training_step(model, inputs, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate with the plugin attached; see ``transformers.Trainer.evaluate``."""
        with self._attached():
            return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict with the plugin attached; see ``transformers.Trainer.predict``."""
        with self._attached():
            return super().predict(*args, **kwargs)

    @contextmanager
    def _attached(self) -> Iterator[EmbeddingHook]:
        if (hook := self._find_hook()) is not None:
            if hook.attachment is not None and hook.attachment is not self._attachment:
                self._use(hook.attachment)
            yield hook
            return
        if self._tokenizer is None:
            raise TrainingError(f"the plugin is not attached to the model. {_TYPE_TOKENIZER}")
        with self.plugin.attach(self.model, self._tokenizer, linker=self._linker, form=self._form) as attachment:
            self._attachment = attachment
            if isinstance(self.data_collator, TaskCollator):
                self.data_collator.tokenizer = attachment.tokenizer
            yield self._find_hook()  # type: ignore[misc]

    def _use(self, attachment: Attachment) -> None:
        """Train with an attachment that somebody else made."""
        if self._linker is not None or self._form not in (None, attachment.form):
            raise TrainingError(
                "the plugin is attached already, with a linker and a form of its own: linker= and form= would change "
                "nothing. Leave them out, or type: plugin.detach(model)"
            )
        if isinstance(self.data_collator, TaskCollator):
            self.data_collator.tokenizer = attachment.tokenizer

    def _find_hook(self) -> EmbeddingHook | None:
        return next((hook for hook in find_hooks(self.model) if hook.mapping is self.plugin.mapping), None)

    def _check_mentions(self, hook: EmbeddingHook) -> None:
        """Training without a mention would run to its end and teach the mapping nothing."""
        data: Any = self.train_dataset
        if data is None:
            raise TrainingError("there is no training data. Type: MapTuningTrainer(..., train_dataset=...)")
        self._rows_without_mention = None
        if isinstance(data, IterableDataset) or not hasattr(data, "__len__"):
            self._rows_without_mention = 0  # a stream may give each row but once: see training_step
            return
        collate = self._get_collator_with_removed_columns(self.data_collator)
        rows = [data[i] for i in range(min(len(data), _ROWS_LOOKED_AT))]
        batches = (collate(rows[i : i + 64]) for i in range(0, len(rows), 64))
        if not any(hook.ids.any_in(batch["input_ids"]) for batch in batches):
            raise self._no_mention(len(rows))

    def _no_mention(self, rows: int) -> TrainingError:
        return TrainingError(
            f"the first {rows} rows of the training data mention no entity of {self.plugin.knowledge_base!r}: "
            "the mapping could learn nothing. Look at attachment.explain(text) for one of your texts; rows that "
            "are tokenized must come from the attachment's tokenizer."
        )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if isinstance(self.data_collator, TaskCollator):  # another may not know what to do with a text
            self._signature_columns = list(dict.fromkeys([*self._signature_columns, *TEXT_COLUMNS]))

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if self.args.should_save:
            self.plugin.save_pretrained(output_dir or str(self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.plugin.mapping.load(Path(resume_from_checkpoint) / MAPPING_NAME)

    def _load_best_model(self) -> None:
        self.plugin.mapping.load(Path(str(self.state.best_model_checkpoint)) / MAPPING_NAME)
