"""Several plugins on one frozen model, whose domains share names: whose a name is, the rest of its text says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.config import Form, TokenInjectionConfig
from knowledge_plugin.errors import AttachmentError, LinkingError
from knowledge_plugin.injection.attachment import Attachment
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking.mention import Linker, Mention
from knowledge_plugin.linking.routing import LinkRouter, RouteBy, RoutePer
from knowledge_plugin.plugin import KnowledgePlugin


class PluginRouter:
    """Picks plugins by what their linkers link in a text: a name that several have is for the one that links the most.

    Plugins that are attached together share a text: where two link the same name, the one that was attached first keeps
    it. That is wrong wherever domains share names, in all texts of the later ones. A router lets the other names of the
    text say whose it is. The formula is that of :class:`~knowledge_plugin.linking.LinkRouter`; that one mapping per
    domain can be switched on one frozen model is map-tuning's (Zhang et al., ACL 2023), choosing it by what is linked
    is ours.

    Args:
        plugins: By name, or in order; then each is called as its knowledge base, with a number where two are alike.
        by: ``"coverage"``, the share of a text's characters that are linked, or ``"mentions"``, their number; both
            weighted by the scores of the mentions.
        per: ``"mention"`` (the default) lets all link, and gives only the names that several of them have to the one
            that links the most in the text. ``"text"`` gives a text as a whole to that one.
        linkers: A linker of your own for some of the names; the others have that of :meth:`KnowledgePlugin.attach`.

    Raises:
        LinkingError: No plugins, something else than plugins, the same one twice, one that nothing links for, or a
            linker for nobody.

    Example:
        >>> router = PluginRouter({"planets": planets, "metals": metals})  # doctest: +SKIP
        >>> router.choose(["Mercury and Venus", "Mercury and lead"])  # doctest: +SKIP
        ['planets', 'metals']
        >>> with router.attach(model, tokenizer) as (model, tokenizer):  # doctest: +SKIP
        ...     model(**tokenizer(["Mercury and Venus", "Mercury and lead"], padding=True, return_tensors="pt"))
    """

    def __init__(
        self,
        plugins: Mapping[str, KnowledgePlugin] | Sequence[KnowledgePlugin],
        *,
        by: RouteBy = "coverage",
        per: RoutePer = "mention",
        linkers: Mapping[str, Linker] | None = None,
    ) -> None:
        if not isinstance(plugins, (Mapping, Iterable)):
            raise LinkingError(f"expected several plugins, found {plugins!r:.200}. Type: PluginRouter([plugin, other])")
        self.plugins = dict(plugins) if isinstance(plugins, Mapping) else _named(plugins)
        if not self.plugins:
            raise LinkingError("expected plugins to choose among, found none. Type: PluginRouter([plugin, other])")
        for plugin in self.plugins.values():
            _check_plugin(plugin)
        if len({id(plugin) for plugin in self.plugins.values()}) < len(self.plugins):
            raise LinkingError("expected different plugins, found one of them twice: nothing could be chosen.")
        self._given = dict(linkers or {})
        if nobody := sorted(self._given.keys() - self.plugins.keys()):
            raise LinkingError(f"linkers: expected names among {', '.join(self.plugins)}, found {nobody[0]!r:.80}.")
        self._by, self._per = by, per
        self._made_for: list[KnowledgeBase] = []
        self._made = self._router

    @property
    def _router(self) -> LinkRouter:
        """The router of the knowledge bases that the plugins have now: :meth:`KnowledgePlugin.swap` exchanges them."""
        bases = [plugin.knowledge_base for plugin in self.plugins.values()]
        if bases != self._made_for:  # none of them equals another
            self._made = LinkRouter(
                {name: _linker_of(name, plugin, self._given.get(name)) for name, plugin in self.plugins.items()},
                by=self._by,
                per=self._per,
                known={name: plugin.knowledge_base.__contains__ for name, plugin in self.plugins.items()},
            )
            self._made_for = bases
        return self._made

    def __repr__(self) -> str:
        return f"PluginRouter({', '.join(self.plugins)}, by={self._by!r}, per={self._per!r})"

    def scores(self, texts: list[str]) -> list[dict[str, float]]:
        """Return for each text how much of it each plugin links, by name; 0 for nothing."""
        return self._router.scores(texts)

    def choose(self, texts: list[str]) -> list[str | None]:
        """Return for each text the name of its plugin, ``None`` where no plugin links anything.

        Where plugins link equally much, such as a name that all of them have and nothing else, it is the first.
        """
        return self._router.choose(texts)

    def attach(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, *, form: Form | None = None, strict: bool = True
    ) -> RoutedAttachment:
        """Attach all plugins, so that each links only what is for it.

        A text without a mention is read as without plugins, bit for bit. Of a pair of texts each is judged for itself.
        Mentions that are given (``tokenizer(text, mentions=...)``) are not routed: the first plugin that knows an
        entity takes it. Each text is linked by every plugin once for each of them.

        Args:
            model: The frozen model.
            tokenizer: Its fast tokenizer.
            form: Of all plugins; as in :meth:`KnowledgePlugin.attach`.
            strict: Likewise.

        Returns:
            The attachment, which unpacks into model and tokenizer.

        Raises:
            AttachmentError: A plugin enters layers and not texts, so that no text can be kept from it; or it is
                attached already. Then none of them is.
            IncompatibleModelError: As :meth:`KnowledgePlugin.attach`; then none of them is attached.
        """
        for name, plugin in self.plugins.items():
            if not isinstance(plugin.config.injection, TokenInjectionConfig):
                raise AttachmentError(
                    f"{name!r} is a plugin of the method {plugin.config.injection.method!r}, which enters layers at "
                    "every text and cannot be kept from some. Route plugins that put tokens at mentions, such as "
                    "map-tuning's."
                )
        attached: dict[str, Attachment] = {}
        try:
            for name, plugin in self.plugins.items():
                linker = self._router.linker(name)
                attached[name] = plugin.attach(model, tokenizer, linker=linker, form=form, strict=strict, name=name)
        except BaseException:
            for attachment in attached.values():
                attachment.detach()
            raise
        return RoutedAttachment(self, model, attached)


class RoutedAttachment:
    """What :meth:`PluginRouter.attach` returns. It unpacks into model and tokenizer, and is a context manager.

    Attributes:
        router: Which chooses.
        model: The model.
        attachments: Of each plugin, by name.
    """

    def __init__(self, router: PluginRouter, model: nn.Module, attachments: dict[str, Attachment]) -> None:
        self.router, self.model, self.attachments = router, model, attachments

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer to use with the model."""
        return next(iter(self.attachments.values())).tokenizer

    def __iter__(self) -> Iterator:
        return iter((self.model, self.tokenizer))

    def __enter__(self) -> RoutedAttachment:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.attached:
            self.detach()

    @property
    def attached(self) -> bool:
        """Whether any of the plugins is still attached."""
        return any(attachment.attached for attachment in self.attachments.values())

    def explain(self, text: str) -> tuple[str | None, list[Mention]]:
        """Return which plugin a text is for, and what is linked in it, by whichever plugin."""
        mentions = [mention for attachment in self.attachments.values() for mention in attachment.explain(text)]
        return self.router.choose([text])[0], sorted(mentions)

    def detach(self) -> None:
        """Detach all plugins: the model is given back bit for bit.

        Raises:
            AttachmentError: They are detached already.
        """
        if not self.attached:
            raise AttachmentError("these plugins are detached already. Type: router.attach(model, tokenizer)")
        for attachment in self.attachments.values():
            if attachment.attached:
                attachment.detach()


def _named(plugins: Iterable[KnowledgePlugin]) -> dict[str, KnowledgePlugin]:
    named: dict[str, KnowledgePlugin] = {}
    for plugin in plugins:
        _check_plugin(plugin)
        name = plugin.knowledge_base.config.name
        numbered = (f"{name}-{i}" for i in range(2, len(named) + 3))
        named[next(each for each in (name, *numbered) if each not in named)] = plugin
    return named


def _check_plugin(plugin: object) -> None:
    if not isinstance(plugin, KnowledgePlugin):
        raise LinkingError(
            f"expected plugins, found {plugin!r:.200}. Type: "
            "PluginRouter([KnowledgePlugin.from_pretrained(name), other])"
        )


def _linker_of(name: str, plugin: KnowledgePlugin, given: Linker | None) -> Linker:
    linker = plugin.default_linker() if given is None else given
    if linker is None:
        raise LinkingError(
            f"the knowledge base of {name!r} has no aliases, so nothing says which texts are for it. Type: "
            f"PluginRouter(plugins, linkers={{{name!r}: linker}})"
        )
    return linker
