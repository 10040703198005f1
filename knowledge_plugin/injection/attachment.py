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
from knowledge_plugin.injection.compilation import forget_compiled_code, tell_hooks_apart
from knowledge_plugin.injection.embeddings import bare_model, execution_device, input_embedding
from knowledge_plugin.injection.generation import guard_generation, unguard_generation
from knowledge_plugin.injection.hook import Hook, find_hooks
from knowledge_plugin.injection.layer_hook import LayerHook
from knowledge_plugin.injection.network import Network
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.injection.prompt_embeds import check_takes_embeddings, look_up
from knowledge_plugin.injection.source import KnowledgeSource, KnowledgeSources
from knowledge_plugin.injection.tokenizer import knowledge_tokenizer
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking.mention import Linker, Mention

_NO_TEXT = (
    "no text was given to attachment.tokenizer in this process, and what another tokenizer encodes gets no knowledge. "
    "Type: model, tokenizer = attachment, and give this tokenizer to pipeline(...), Trainer(processing_class=...) or "
    "whatever reads the texts; workers of a DataLoader count for themselves"
)


@dataclass(frozen=True)
class PluginStatus:
    """What one attached plugin is, and where its parts are.

    Attributes:
        name: What the plugin is called on this model.
        knowledge_base: Name of its knowledge base.
        entities: How many entities that has.
        form: ``"concat"`` or ``"replace"``; ``None`` if its method puts no tokens into a text.
        enabled: Whether it is on here and now.
        virtual_ids: First and last id of its range; ``None`` likewise.
        modules: Names of the model's modules that it hangs on.
        embedding_device: Where the model looks words up.
        mapping_device: Where the weights of the mapping network are.
        index_device: Where the entity vectors are: a device, or ``"disk"`` if they are mapped from there.
        index_bytes: Size of all entity vectors as they are stored.
        texts: How many texts came to :attr:`Attachment.tokenizer` in this process since attaching.
        mentions_linked: How many virtual tokens were given out in this process since attaching.
        mentions_unknown: How many mentions, given or found by a linker, were of entities that no attached plugin knows.
        note: What looks wrong, and what to do about it; ``None`` if nothing does.
    """

    name: str
    knowledge_base: str
    entities: int
    form: str | None
    enabled: bool
    virtual_ids: tuple[int, int] | None
    modules: tuple[str, ...]
    embedding_device: str
    mapping_device: str
    index_device: str
    index_bytes: int
    texts: int
    mentions_linked: int
    mentions_unknown: int
    note: str | None


class Attachment:
    """What :meth:`KnowledgePlugin.attach` returns. It unpacks into model and tokenizer, and is a context manager.

    The model is the one that was given, with hooks on its word embeddings and no weight changed. The tokenizer is a
    new one that links for every plugin that is attached to the model; the one that was given stays as it is.

    Attributes:
        model: The model.

    Example:
        >>> with plugin.attach(model, tokenizer) as (model, tokenizer):  # doctest: +SKIP
        ...     model(**tokenizer("The museum in Graz", return_tensors="pt"))
    """

    def __init__(self, model: nn.Module, hook: Hook, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        assert hook.source is not None
        assert hook.sources is not None
        self.model = model
        self._hook = hook
        self._source = hook.source
        self._sources = hook.sources
        self._tokenizer = tokenizer
        # As long as the model lives: its other attachments and the plugin find this one by it.
        hook.attachment = self

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer to use with the model.

        Raises:
            AttachmentError: The model is a copy, and its tokenizer was copied without it.
        """
        if self._tokenizer is None:
            raise AttachmentError(
                "this model is a copy of one that a plugin was attached to, and its tokenizer is not known here. Use "
                "the tokenizer that was copied with it, or detach and attach anew."
            )
        return self._tokenizer

    def __iter__(self) -> Iterator:
        return iter((self.model, self.tokenizer))

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.attached:
            self.detach()

    def __repr__(self) -> str:
        state = "attached" if self.attached else "detached"
        return (
            f"Attachment({self.name!r} on {type(self.model).__name__}, "
            f"{self._source.form}, {state}, mentions_linked={self.mentions_linked})"
        )

    @property
    def attached(self) -> bool:
        """Whether it is still attached."""
        return self._hook in find_hooks(self.model)

    @property
    def name(self) -> str:
        """What the plugin is called on this model."""
        return self._source.name

    @property
    def source(self) -> KnowledgeSource:
        """What the plugin brings into a text: its linker, its entities, its virtual ids."""
        return self._source

    @property
    def mapping(self) -> Network:
        """The mapping network of the plugin."""
        return self._hook.mapping

    @property
    def form(self) -> Form:
        """``"concat"`` or ``"replace"``, of a method that puts tokens into a text."""
        return self._source.form

    @property
    def mentions_linked(self) -> int:
        """How many virtual tokens the tokenizers of the model have given out in this process since attaching."""
        return self._source.counts.linked

    def status(self) -> list[PluginStatus]:
        """Return what is attached to the model, in the order of attaching, and where each part of it sits."""
        return [attachment._describe() for attachment in attachments(self.model)]

    def _describe(self) -> PluginStatus:
        hook, source = self._hook, self._source
        return PluginStatus(
            name=source.name,
            knowledge_base=source.knowledge_base.config.name,
            entities=len(source.knowledge_base),
            form=source.form if hook.ids else None,
            enabled=source.enabled,
            virtual_ids=(hook.ids.start, hook.ids.stop - 1) if hook.ids else None,
            modules=tuple(name for name, module in self.model.named_modules() if hook.hangs_on(module)),
            embedding_device=str(execution_device(input_embedding(self.model))),
            mapping_device=str(hook.mapping.device),
            index_device=hook.vectors.where,
            index_bytes=hook.vectors.index.nbytes,
            texts=source.counts.texts,
            mentions_linked=source.counts.linked,
            mentions_unknown=source.counts.unknown,
            note=_NO_TEXT if hook.ids and not source.counts.texts else None,
        )

    def explain(self, text: str) -> list[Mention]:
        """Return what this plugin links in a text: where, to which entity, with what score.

        Of a method that looks entries up in layers, what the model looked up there, the best first; something is always
        found. An encoder-decoder looks up in its decoder, which is given the text too, since no answer is written here:
        what it looks up while it writes one may be something else.

        A mention has the id of its entity alone; its name and more are in the knowledge base::

            for mention in attachment.explain(text):
                print(text[mention.start : mention.end], plugin.knowledge_base[mention.entity_id].label, mention.score)

        Of several plugins on the model each explains its own mentions; what overlaps a mention of a plugin that was
        attached earlier is not linked, and not here.

        Raises:
            AttachmentError: The plugin is detached.
            LinkingError: The knowledge base has no aliases and no linker was given.
            MentionError: Not one text.
        """
        self._check_attached()
        if not isinstance(text, str):
            raise MentionError(f"explain: expected one text, found {type(text).__name__}. Call it for each text.")
        if isinstance(self._hook, LayerHook):
            return self._looked_up(text, self._hook)
        return [mention for mention, source in self._sources.find([text])[0] if source is self._source]

    def _looked_up(self, text: str, hook: LayerHook) -> list[Mention]:
        """Run the model on a text, and return what it looked up there: of the whole text, the best first."""
        batch = dict(self.tokenizer(text, return_tensors="pt"))
        batch = {name: tensor.to(execution_device(input_embedding(self.model))) for name, tensor in batch.items()}
        if getattr(getattr(bare_model(self.model), "config", None), "is_encoder_decoder", False):
            batch["decoder_input_ids"] = batch["input_ids"]
        with hook.logging() as forwards, torch.no_grad():
            self.model(**batch)
        found = sorted(hook.found_by(forwards).items(), key=lambda item: -item[1])
        return [Mention(0, len(text), self._source.knowledge_base.entity_id(row), score) for row, score in found]

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
            AttachmentError: The plugin is detached; or the model does more with ids than look up these embeddings, so
                that they do not say all.
            LinkingError: Nothing finds mentions, and none are given.
            ValueError: ``return_tensors``, which would be another shape.
        """
        self._check_attached()
        if options.get("return_tensors") is not None:
            raise ValueError("return_tensors: expected none, since each prompt comes back as a tensor of its own.")
        if not self._source.ids:
            raise AttachmentError("this plugin enters layers of the model: a prompt's embeddings do not hold it.")
        check_takes_embeddings(self.model, self._source.ids.start)
        encoded = self.tokenizer(text, **options)
        embeds = [
            look_up(self.model, ids)
            for ids in ([encoded["input_ids"]] if isinstance(text, str) else encoded["input_ids"])
        ]
        return embeds[0] if isinstance(text, str) else embeds

    def use(self, knowledge_base: KnowledgeBase, linker: Linker | None) -> None:
        """Look entries up in another knowledge base from now on; see :meth:`KnowledgePlugin.swap`.

        Args:
            knowledge_base: The other one.
            linker: Over its names, for an attachment that was not given a linker.
        """
        self._source.knowledge_base = knowledge_base
        if self._source.chose_linker:
            self._source.linker = linker
        self._hook.vectors = PlacedIndex(knowledge_base, self._hook.vectors.gpu)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Within ``with attachment.disabled():``, this plugin links nothing.

        Without another plugin, text that is tokenized within gives what the base model gives; ids that were made
        before keep their entities. Like ``torch.no_grad`` it is of this thread, and of workers that it sends out.
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
        self._hook.detach(self.model)
        unguard_generation(self.model)
        forget_compiled_code()
        self._sources.remove(self._source)

    def _check_attached(self) -> None:
        if not self.attached:
            raise AttachmentError("this plugin is detached already. Type: attachment = plugin.attach(model, tokenizer)")


def attach(model: nn.Module, tokenizer: PreTrainedTokenizerBase, hook: Hook, source: KnowledgeSource) -> Attachment:
    """Hang a hook on a model, and make the tokenizer that links for all plugins of the model.

    Raises:
        TokenizerError: The tokenizer cannot carry virtual tokens.
    """
    sources = next((a._sources for a in attachments(model)), None) or KnowledgeSources()
    # First whatever refuses or warns, which may be an error too: until then the model has not been touched.
    linking = knowledge_tokenizer(tokenizer, sources)
    if source.ids:
        sources.check(source)
    if forget_compiled_code():
        warnings.warn(
            "something was compiled in this process before the plugin was attached. If it ran this model, it would not "
            "ask the plugin, so all compiled code was thrown away and will be made again at the next call. Attach "
            "before you compile.",
            stacklevel=3,
        )
    tell_hooks_apart()
    hook.source, hook.sources = source, sources
    hook.attach(model)
    guard_generation(model)
    if source.ids:
        sources.add(source)
    return Attachment(model, hook, linking)


def attachments(model: nn.Module) -> list[Attachment]:
    """Return what is attached to a model, in the order of attaching; also to a copy, or a model from a pickle.

    Example:
        >>> for attachment in attachments(model):  # doctest: +SKIP
        ...     attachment.detach()
    """
    hooks = [hook for hook in find_hooks(model) if hook.source is not None]
    return [hook.attachment or Attachment(model, hook) for hook in hooks]
