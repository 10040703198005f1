"""A plugin on a model: the pair of model and tokenizer to use, and the way back."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.config import Form
from knowledge_plugin.errors import AttachmentError, MentionError
from knowledge_plugin.injection.compilation import forget_compiled_code
from knowledge_plugin.injection.embeddings import bare_model, embedding_modules, execution_device, input_embedding
from knowledge_plugin.injection.generation import guard_generation, unguard_generation
from knowledge_plugin.injection.hook import EmbeddingHook, find_hooks
from knowledge_plugin.injection.source import KnowledgeSource, KnowledgeSources
from knowledge_plugin.injection.tokenizer import knowledge_tokenizer
from knowledge_plugin.linking.mention import Mention


@dataclass(frozen=True)
class PluginStatus:
    """What one attached plugin is, and where its parts are.

    Attributes:
        name: What the plugin is called on this model.
        knowledge_base: Name of its knowledge base.
        entities: How many entities that has.
        form: ``"concat"`` or ``"replace"``.
        enabled: Whether it links now.
        virtual_ids: First and last id of its range.
        modules: Names of the model's modules that it hangs on.
        embedding_device: Where the model looks words up.
        mapping_device: Where the weights of the mapping network are.
        index_device: Where the entity vectors are: a device, or ``"disk"`` if they are mapped from there.
        index_bytes: Size of all entity vectors as they are stored.
        mentions_linked: How many virtual tokens were given out in this process since attaching.
    """

    name: str
    knowledge_base: str
    entities: int
    form: str
    enabled: bool
    virtual_ids: tuple[int, int]
    modules: tuple[str, ...]
    embedding_device: str
    mapping_device: str
    index_device: str
    index_bytes: int
    mentions_linked: int


class Attachment:
    """What :meth:`KnowledgePlugin.attach` returns. It unpacks into model and tokenizer, and is a context manager.

    The model is the one that was given, with hooks on its word embeddings and no weight changed. The tokenizer is a
    new one that links for every plugin that is attached to the model; the one that was given stays as it is.

    Attributes:
        model: The model.
        tokenizer: The tokenizer to use with it.

    Example:
        >>> with plugin.attach(model, tokenizer) as (model, tokenizer):  # doctest: +SKIP
        ...     model(**tokenizer("The museum in Graz", return_tensors="pt"))
    """

    def __init__(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, hook: EmbeddingHook, source: KnowledgeSource
    ) -> None:
        self.model = model
        self._source = source
        self._hook = hook
        self._sources = _sources_of(model)
        # The tokenizer first: if it is refused, the model has not been touched.
        self.tokenizer = knowledge_tokenizer(tokenizer, self._sources)
        if forget_compiled_code(model):
            warnings.warn(
                "this model, or another of its class, was compiled before the plugin was attached. Its compiled code "
                "would not ask the plugin, so all compiled code of this process was thrown away and will be made again "
                "at the next call. Attach before you compile.",
                stacklevel=3,
            )
        hook.attach(model)
        guard_generation(model)
        # As long as the model lives: its other attachments and the plugin find this one by it.
        hook.attachment = self
        self._sources.add(source)
        self._attached = True

    def __iter__(self) -> Iterator:
        return iter((self.model, self.tokenizer))

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._attached:
            self.detach()

    def __repr__(self) -> str:
        state = "attached" if self._attached else "detached"
        return (
            f"Attachment({self.name!r} on {type(self.model).__name__}, "
            f"{self._source.form}, {state}, mentions_linked={self.mentions_linked})"
        )

    @property
    def attached(self) -> bool:
        """Whether it is still attached."""
        return self._attached

    @property
    def name(self) -> str:
        """What the plugin is called on this model."""
        return self._source.name

    @property
    def source(self) -> KnowledgeSource:
        """What the plugin brings into a text: its linker, its entities, its virtual ids."""
        return self._source

    @property
    def form(self) -> Form:
        """``"concat"`` or ``"replace"``."""
        return self._source.form

    @property
    def mentions_linked(self) -> int:
        """How many virtual tokens the tokenizers of the model have given out in this process since attaching."""
        return self._source.mentions_linked

    def status(self) -> list[PluginStatus]:
        """Return what is attached to the model, in the order of attaching, and where each part of it sits."""
        return [attachment._describe() for attachment in attachments(self.model)]

    def _describe(self) -> PluginStatus:
        hook, source = self._hook, self._source
        on = set(map(id, embedding_modules(self.model)))
        return PluginStatus(
            name=source.name,
            knowledge_base=source.knowledge_base.config.name,
            entities=len(source.knowledge_base),
            form=source.form,
            enabled=source.enabled,
            virtual_ids=(hook.ids.start, hook.ids.stop - 1),
            modules=tuple(name for name, module in self.model.named_modules() if id(module) in on),
            embedding_device=str(execution_device(input_embedding(self.model))),
            mapping_device=str(hook.mapping.device),
            index_device=hook.vectors.where,
            index_bytes=hook.vectors.index.nbytes,
            mentions_linked=source.mentions_linked,
        )

    def explain(self, text: str) -> list[Mention]:
        """Return what this plugin links in a text: where, to which entity, with what score.

        Of several plugins on the model each explains its own mentions; what overlaps a mention of a plugin that was
        attached earlier is not linked, and not here.

        Raises:
            LinkingError: The knowledge base has no aliases and no linker was given.
            MentionError: Not one text.
        """
        if not isinstance(text, str):
            raise MentionError(f"explain: expected one text, found {type(text).__name__}. Call it for each text.")
        return [mention for mention, source in self._sources.find([text])[0] if source is self._source]

    @overload
    def prompt_embeds(self, text: str, **options: Any) -> torch.Tensor: ...
    @overload
    def prompt_embeds(self, text: list[str], **options: Any) -> list[torch.Tensor]: ...
    def prompt_embeds(self, text: str | list[str], **options: Any) -> torch.Tensor | list[torch.Tensor]:
        """Return the input embeddings of a prompt, for engines that take them instead of token ids.

        They are what the hooked model sees: ``model(inputs_embeds=embeds[None])`` gives the same logits. vLLM takes
        them as ``{"prompt_embeds": embeds}``, with ``enable_prompt_embeds=True``.

        Args:
            text: One prompt, or several.
            **options: Passed to the tokenizer, for example ``add_special_tokens=False`` for the text of a chat
                template, or ``mentions=``.

        Returns:
            ``[tokens, width]`` in the dtype of the model, on the device of its embeddings; of several prompts a list.

        Raises:
            AttachmentError: The plugin is detached.
            LinkingError: Nothing finds mentions, and none are given.
        """
        self._check_attached()
        encoded = self.tokenizer(text, **options)
        ids = [encoded["input_ids"]] if isinstance(text, str) else encoded["input_ids"]
        device = execution_device(input_embedding(self.model))
        look_up = embedding_modules(self.model)[0]
        with torch.no_grad():
            embeds = [look_up(torch.tensor(prompt, device=device)) for prompt in ids]
        return embeds[0] if isinstance(text, str) else embeds

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Within ``with attachment.disabled():``, this plugin links nothing.

        Without another plugin, the model then behaves as its base. Like ``torch.no_grad`` it is of this thread alone.
        """
        with self._source.switched_off():
            yield

    def detach(self) -> None:
        """Give the model back bit for bit. The attachment's tokenizer links no more for this plugin.

        Several plugins may be detached in any order.

        Raises:
            AttachmentError: It was detached before.
        """
        self._check_attached()
        self._hook.detach()
        self._hook.attachment = None
        unguard_generation(self.model)
        forget_compiled_code(self.model)
        self._sources.remove(self._source)
        self._attached = False

    def _check_attached(self) -> None:
        if not self._attached:
            raise AttachmentError("this plugin is detached already. Type: attachment = plugin.attach(model, tokenizer)")


def _sources_of(model: nn.Module) -> KnowledgeSources:
    """Return what is attached to a model already; a copied model begins with a copy of what its original has."""
    others = attachments(model)
    own = next((a._sources for a in others if bare_model(a.model) is bare_model(model)), None)
    return own or (others[0]._sources.of_copy() if others else KnowledgeSources())


def attachments(model: nn.Module) -> list[Attachment]:
    """Return what is attached to a model, in the order of attaching."""
    return [hook.attachment for hook in find_hooks(model) if hook.attachment is not None]
