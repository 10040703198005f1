"""What the attached plugins bring into a text: whose mentions, found how, and which virtual ids they become."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from knowledge_plugin.config import Form
from knowledge_plugin.errors import AttachmentError, LinkingError
from knowledge_plugin.injection.virtual_ids import VirtualIds
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking.mention import Linker, Mention, link

_MANY_UNKNOWN = 100

# Of this thread or task alone, as with torch.no_grad: a server answers others meanwhile.
_SWITCHED_OFF: ContextVar[frozenset[uuid.UUID]] = ContextVar("switched_off", default=frozenset())


class KnowledgeSource:
    """One plugin's part in a tokenizer.

    Args:
        name: What the plugin is called on its model.
        knowledge_base: Entities and their rows.
        linker: Finds mentions where none are given; ``None`` if they are always given.
        ids: The virtual ids of the knowledge base.
        form: ``"concat"`` or ``"replace"``.
        separator: Text between the virtual token and the mention in the concat form.
    """

    def __init__(
        self,
        name: str,
        knowledge_base: KnowledgeBase,
        linker: Linker | None,
        ids: VirtualIds,
        form: Form,
        separator: str,
    ) -> None:
        self.name = name
        self.knowledge_base = knowledge_base
        self.linker = linker
        self.chose_linker = False  # whether nobody gave one, so that it is of this knowledge base
        self.ids = ids
        self.form = form
        self.separator = separator
        self.mentions_linked = 0
        # The same in another process: a forked worker is switched off as it was where it was forked, though what it
        # works with may have been pickled by a thread that knows nothing of it.
        self._key = uuid.uuid4()
        self._sent_switched_off = False

    @property
    def enabled(self) -> bool:
        """Whether the plugin links, here and now: another thread may have switched it off for itself."""
        return not self._sent_switched_off and self._key not in _SWITCHED_OFF.get()

    def __getstate__(self) -> dict:
        # A worker process does what the thread that sent it there would do. The count is of one process.
        return self.__dict__ | {"_sent_switched_off": not self.enabled, "mentions_linked": 0}

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Within, the plugin links nothing in this thread or task."""
        token = _SWITCHED_OFF.set(_SWITCHED_OFF.get() | {self._key})
        try:
            yield
        finally:
            _SWITCHED_OFF.reset(token)

    @property
    def needed_linker(self) -> Linker:
        """The linker.

        Raises:
            LinkingError: There is none.
        """
        if self.linker is None:
            raise LinkingError(
                f"the knowledge base {self.knowledge_base.config.name!r} has no aliases, so nothing finds mentions in "
                "a text. Pass linker=... to attach, or mentions=[[Mention(...)], ...] to the tokenizer."
            )
        return self.linker

    def knows(self, entity_id: str) -> bool:
        """Say whether an entity is in the knowledge base: an unknown one gets no virtual token."""
        return entity_id in self.knowledge_base

    def known(self, mentions: Iterable[Mention]) -> list[Mention]:
        """Keep the mentions whose entity is in the knowledge base: an unknown entity gets no virtual token."""
        return [mention for mention in mentions if mention.entity_id in self.knowledge_base]

    def token_id(self, mention: Mention) -> int:
        """Return the virtual id of a mention's entity; of several, the first."""
        token_id = self.ids.of_row(self.knowledge_base.row(mention.entity_id))
        if token_id not in self.ids:
            raise AttachmentError(
                f"the knowledge base has grown to {len(self.knowledge_base)} entities since the plugin was attached, "
                "more than the virtual ids reserved for it. Detach and attach again."
            )
        return token_id

    def entity_id(self, token_id: int) -> str | None:
        """Return the id of the entity that a token stands for, or ``None`` if it is no virtual id of this plugin."""
        row = self.ids.row(token_id)
        return self.knowledge_base.entity_id(row) if 0 <= row < len(self.knowledge_base) else None


class PastSource(NamedTuple):
    """What is left of a plugin that was detached: enough to decode what was tokenized with it."""

    name: str
    ids: VirtualIds
    form: Form
    separator: str

    def entity_id(self, token_id: int) -> str:
        """Return what to call any of its tokens; the entities went with the knowledge base."""
        return self.name


class Linked(NamedTuple):
    """A mention, and the plugin that knows its entity."""

    mention: Mention
    source: KnowledgeSource

    @property
    def token(self) -> str:
        """What the virtual token of the entity is called."""
        return f"<{self.mention.entity_id}>"


class KnowledgeSources:
    """The plugins attached to one model, in the order of attaching; shared by all its knowledge tokenizers.

    Of overlapping mentions, the plugin that was attached first keeps its own.
    """

    def __init__(self) -> None:
        self._sources: list[KnowledgeSource] = []
        self._past: list[PastSource] = []
        self._given = _GivenIds()

    def check(self, source: KnowledgeSource) -> None:
        """Warn if a plugin to be added has no linker and others have, or the other way round."""
        if self._sources and len({source.linker is None for source in (*self._sources, source)}) == 2:
            without = next(s.name for s in (*self._sources, source) if s.linker is None)
            warnings.warn(
                f"{without!r} has no linker, so it links nothing where another plugin finds the mentions. Pass "
                "linker=... to attach, or mentions=[[Mention(...)], ...] to the tokenizer.",
                stacklevel=4,
            )

    def add(self, source: KnowledgeSource) -> None:
        """Put a plugin last."""
        self._sources = [*self._sources, source]

    def of_copy(self) -> KnowledgeSources:
        """Return the same plugins for a copy of the model, to which others may be attached than to the original."""
        other = KnowledgeSources()
        other._sources, other._past = list(self._sources), list(self._past)
        return other

    def knows(self, entity_id: str) -> bool:
        """Say whether any plugin knows an entity."""
        return any(source.knows(entity_id) for source in self.enabled)

    def remove(self, source: KnowledgeSource) -> None:
        """Take a plugin away. Texts that were tokenized with it can still be decoded."""
        self._past = [PastSource(source.name, source.ids, source.form, source.separator), *self._past]
        self._sources = [other for other in self._sources if other is not source]

    @property
    def enabled(self) -> list[KnowledgeSource]:
        """The plugins that are switched on."""
        return [source for source in self._sources if source.enabled]

    def find(self, texts: list[str]) -> list[list[Linked]]:
        """Return the mentions of each text whose entity is in a knowledge base, in order and without overlaps.

        Raises:
            LinkingError: No plugin has a linker.
        """
        sources = self.enabled
        # One without a linker only links what is given; if all are so, the first says what is wrong.
        linking = [source for source in sources if source.linker is not None] or sources[:1]
        found: list[list[Linked]] = [[] for _ in texts]
        for source in linking:
            for kept, mentions in zip(found, link(source.needed_linker, texts, source.knows), strict=True):
                kept[:] = _merged(kept, [Linked(mention, source) for mention in source.known(mentions)])
        return found

    def known(self, mentions: Iterable[Mention]) -> list[Linked]:
        """Give each mention to the first plugin that knows its entity; one whose entity nobody knows is dropped.

        Warns once if nobody knows any of them, and they do not look like ids of these plugins.
        """
        sources, mentions = self.enabled, list(mentions)
        owners = ((m, next((s for s in sources if m.entity_id in s.knowledge_base), None)) for m in mentions)
        known = [Linked(mention, owner) for mention, owner in owners if owner is not None]
        self._given.look_at([m.entity_id for m in mentions], len(known), sources)
        return known

    def of_token(self, token_id: int) -> KnowledgeSource | PastSource | None:
        """Return the plugin to whose range a token id belongs."""
        known: Iterable[KnowledgeSource | PastSource] = (*self._sources, *self._past)
        return next((source for source in known if token_id in source.ids), None)

    def __deepcopy__(self, memo: dict) -> KnowledgeSources:
        return self  # copies of a tokenizer are switched off together with it


class _GivenIds:
    """Notices that given mentions are of another id scheme: then no entity is ever known.

    A knowledge base that covers a part of the entities is no mistake, so an id of the right scheme needs many others.
    """

    def __init__(self) -> None:
        self._unknown = 0
        self._settled = False

    def __reduce__(self) -> tuple:
        return _GivenIds, ()  # what was noticed is of one process

    def look_at(self, ids: list[str], known: int, sources: list[KnowledgeSource]) -> None:
        if self._settled or not ids or not sources:
            return
        self._settled = known > 0
        self._unknown += len(ids)
        first = [source.knowledge_base.entity_id(0) for source in sources]
        schemes = {entity_id.partition(":")[0] for entity_id in first}
        if known or (self._unknown < _MANY_UNKNOWN and any(i.partition(":")[0] in schemes for i in ids)):
            return
        self._settled = True
        warnings.warn(
            "none of the entities in mentions= is in a knowledge base that is attached, so they get no virtual "
            f"token: {ids[0]!r:.200}; its ids look like {first[0]!r:.200}.",
            stacklevel=3,
        )


def _merged(kept: list[Linked], new: list[Linked]) -> list[Linked]:
    """Add what overlaps nothing that is kept already."""
    if not kept:
        return new
    spans = [linked.mention for linked in kept]
    free = [n for n in new if all(n.mention.end <= s.start or s.end <= n.mention.start for s in spans)]
    return sorted([*kept, *free], key=lambda linked: linked.mention.start)
