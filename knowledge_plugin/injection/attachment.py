"""A plugin on a model: the pair of model and tokenizer to use, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.errors import AttachmentError
from knowledge_plugin.injection.hook import EmbeddingHook
from knowledge_plugin.injection.tokenizer import KnowledgeSource, knowledge_tokenizer
from knowledge_plugin.linking.mention import Mention


class Attachment:
    """What :meth:`KnowledgePlugin.attach` returns. It unpacks into model and tokenizer, and is a context manager.

    The model is the one that was given, with hooks on its word embeddings and no weight changed. The tokenizer is a
    new one that links; the one that was given stays as it is.

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
        # The tokenizer first: if it is refused, the model has not been touched.
        self.tokenizer = knowledge_tokenizer(tokenizer, source)
        hook.attach(model)
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
            f"Attachment({self._source.knowledge_base.config.name!r} on {type(self.model).__name__}, "
            f"{self._source.form}, {state}, mentions_linked={self.mentions_linked})"
        )

    @property
    def mentions_linked(self) -> int:
        """How many mentions the tokenizer has linked in this process since attaching."""
        return self._source.mentions_linked

    def explain(self, text: str) -> list[Mention]:
        """Return what is linked in a text: where, to which entity, with what score.

        Raises:
            LinkingError: The knowledge base has no aliases and no linker was given.
        """
        return self._source.find([text])[0]

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Within, the tokenizer links nothing, so that the model behaves as without the plugin."""
        before, self._source.enabled = self._source.enabled, False
        try:
            yield
        finally:
            self._source.enabled = before and self._attached

    def detach(self) -> None:
        """Give the model back bit for bit. The attachment's tokenizer links no more.

        Raises:
            AttachmentError: It was detached before.
        """
        if not self._attached:
            raise AttachmentError("this plugin is detached already. Type: attachment = plugin.attach(model, tokenizer)")
        self._hook.detach()
        self._source.enabled = False
        self._attached = False
