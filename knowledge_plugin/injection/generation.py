"""Options of ``generate`` that take the ids of a prompt for words of the output, which virtual ids are not."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from knowledge_plugin.errors import GenerationError
from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.injection.hook import find_hooks

# Option, the value that switches it off, and whether it fails for encoder-decoder models too.
_TAKE_IDS_FOR_WORDS: tuple[tuple[str, float | bool, bool], ...] = (
    ("encoder_repetition_penalty", 1.0, True),
    ("encoder_no_repeat_ngram_size", 0, False),
    ("prompt_lookup_num_tokens", 0, True),
    ("token_healing", False, True),
)


class GenerationGuard:
    """Stands in for ``model.generate`` while a plugin is attached, and looks at the options before it generates.

    Without it, the options would fail deep inside transformers with an index that is out of range.

    Args:
        model: The transformers model whose ``generate`` it stands for.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.__name__ = "generate"
        self.__doc__ = type(model).generate.__doc__  # type: ignore[attr-defined]

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(type(self.model).generate.__get__(self.model))  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Check, and generate.

        Raises:
            GenerationError: The prompt holds entities, and an option cannot work with them.
        """
        self._check(args, kwargs)
        return type(self.model).generate(self.model, *args, **kwargs)  # type: ignore[attr-defined]

    def _check(self, args: tuple, kwargs: dict) -> None:
        hooks = [hook for hook in find_hooks(self.model) if hook.ids]
        prompt = args[0] if args else kwargs.get("inputs", kwargs.get("input_ids"))
        if not isinstance(prompt, torch.Tensor) or not any(hook.ids.any_in(prompt) for hook in hooks):
            return
        options = kwargs.get("generation_config") or getattr(self.model, "generation_config", None)
        for name, off, also_encoder_decoder in _TAKE_IDS_FOR_WORDS:
            value = kwargs.get(name, getattr(options, name, None))
            if value is None or value == off:
                continue
            if also_encoder_decoder or not self.model.config.is_encoder_decoder:  # type: ignore[union-attr]
                raise GenerationError(
                    f"{name}={value} takes the ids of the prompt for words of the output, and this prompt holds "
                    f"entities. Leave it out, or generate within: with attachment.disabled(): ... tokenizer(text) ..."
                )
        assistant = kwargs.get("assistant_model")
        if assistant is not None and kwargs.get("assistant_tokenizer") is None:  # else it is given text, not ids
            others = [hook for hook in find_hooks(bare_model(assistant)) if hook.ids]
            known = {(hook.ids.start, hook.mapping.config.input_dim) for hook in others}
            if not known >= {(hook.ids.start, hook.mapping.config.input_dim) for hook in hooks}:
                raise GenerationError(
                    "the assistant model does not know the virtual ids in this prompt. Attach a plugin of the same "
                    "knowledge base, made for the assistant, to it too: plugin_of_assistant.attach(assistant, "
                    "tokenizer). If it is attached: both models must have equally many word embeddings, and their "
                    "plugins must be attached in the same order."
                )


def guard_generation(model: nn.Module) -> None:
    """Put a guard before ``generate``, if the model generates and has none."""
    model = bare_model(model)
    if callable(getattr(type(model), "generate", None)) and "generate" not in vars(model):
        vars(model)["generate"] = GenerationGuard(model)


def unguard_generation(model: nn.Module) -> None:
    """Take the guard away when no plugin is attached any more."""
    model = bare_model(model)
    if isinstance(vars(model).get("generate"), GenerationGuard) and not find_hooks(model):
        del vars(model)["generate"]
