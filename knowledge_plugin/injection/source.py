"""What the attached plugins bring into a text: whose mentions, found how, and which virtual ids they become."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple

from knowledge_plugin.config import Form
from knowledge_plugin.errors import AttachmentError, LinkingError
from knowledge_plugin.injection.virtual_ids import VirtualIds
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking.mention import Linker, Mention, check_mentions, in_rows, link

# Of this thread or task alone, as with torch.no_grad: a server answers others meanwhile.
_SWITCHED_OFF: ContextVar[frozenset[uuid.UUID]] = ContextVar("switched_off", default=frozenset())


@dataclass
class Counts:
    """What was tokenized for one plugin in one process; a copy in another begins anew.

    Attributes:
        texts: Texts that came to a tokenizer of the model.
        linked: Virtual tokens that were given out.
        known: Mentions, given or of the plugin's linker, whose entity is in a knowledge base that is attached.
        unknown: Those whose entity is in none.
        warned: Whether that was said.
    """

    texts: int = 0
    linked: int = 0
    known: int = 0
    unknown: int = 0
    warned: bool = False

    def __reduce__(self) -> tuple:
        return Counts, ()  # so that datasets can tell by a hash of a tokenizer what it has tokenized before


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
        self.counts = Counts()
        # The same in another process: a forked worker is switched off as it was where it was forked, though what it
        # works with may have been pickled by a thread that knows nothing of it.
        self._key = uuid.uuid4()
        self._sent_switched_off = False

    @property
    def enabled(self) -> bool:
        """Whether the plugin links, here and now: another thread may have switched it off for itself."""
        return not self._sent_switched_off and self._key not in _SWITCHED_OFF.get()

    def __getstate__(self) -> dict:
        # A worker process does what the thread that sent it there would do.
        return self.__dict__ | {"_sent_switched_off": not self.enabled}

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

    def find(self, texts: list[str]) -> list[list[Mention]]:
        """Return what its linker finds in each text, of entities that it knows. Warns as :func:`notice` does.

        Raises:
            LinkingError: There is no linker, or it did not give the mentions of each text.
            MentionError: A mention does not fit its text.
        """
        return _found(self, texts, attached=[self])

    def given(self, rows: Sequence[Iterable | Mapping], texts: list[str]) -> list[list[Mention]]:
        """Return what is given for each text, of entities that it knows. Warns as :func:`notice` does.

        Raises:
            MentionError: A mention does not fit its text.
        """
        return _given([self], rows, texts, attached=[self])

    def token_id(self, mention: Mention) -> int:
        """Return the virtual id of a mention's entity; of several, the first."""
        return self.first_id(mention.entity_id)

    def first_id(self, entity_id: str) -> int:
        """Return the virtual id of an entity; of several, the first."""
        token_id = self.ids.of_row(self.knowledge_base.row(entity_id))
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
        """What the virtual token of the entity is called; :meth:`KnowledgeSources.called` finds it by that."""
        return f"<{self.mention.entity_id}>"


class KnowledgeSources:
    """The plugins attached to one model, in the order of attaching; shared by all its knowledge tokenizers.

    Of overlapping mentions, the plugin that was attached first keeps its own.
    """

    def __init__(self) -> None:
        self._sources: list[KnowledgeSource] = []
        self._past: list[PastSource] = []

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
            for kept, mentions in zip(found, _found(source, texts, self._sources), strict=True):
                kept[:] = _merged(kept, [Linked(mention, source) for mention in mentions])
        return found

    def given(self, rows: Sequence[Iterable | Mapping | None], texts: list[str]) -> list[list[Linked]]:
        """Return the given mentions of each text, each with the first plugin that knows its entity.

        What nobody knows is dropped; :func:`notice` says so. Where ``None`` is given, mentions are found.

        Raises:
            MentionError: A mention does not fit its text.
            LinkingError: Mentions are to be found, and no plugin has a linker.
        """
        sources = self.enabled
        checked = _given(sources, [[] if row is None else row for row in rows], texts, self._sources)
        return [
            self.find([text])[0] if row is None else _owned(mentions, sources)
            for row, mentions, text in zip(rows, checked, texts, strict=True)
        ]

    def of_token(self, token_id: int) -> KnowledgeSource | PastSource | None:
        """Return the plugin to whose range a token id belongs."""
        known: Iterable[KnowledgeSource | PastSource] = (*self._sources, *self._past)
        return next((source for source in known if token_id in source.ids), None)

    def called(self, token: str) -> range | None:
        """Return the ids of the tokens that are called so: of an entity of the first plugin that knows it."""
        if not (token.startswith("<") and token.endswith(">")):
            return None
        entity_id = token[1:-1]
        source = next((source for source in self._sources if source.knows(entity_id)), None)
        if source is None:
            return None
        first = source.first_id(entity_id)
        return range(first, first + source.ids.tokens)

    def __deepcopy__(self, memo: dict) -> KnowledgeSources:
        return self  # copies of a tokenizer are switched off together with it


class _Asked:
    """Says of entities whether any of these plugins knows them, and keeps the ids of those that none knows."""

    def __init__(self, sources: Sequence[KnowledgeSource]) -> None:
        self._bases = [source.knowledge_base for source in sources]
        self.unknown: list[str] = []

    def __call__(self, entity_id: str) -> bool:
        for base in self._bases:
            if entity_id in base:
                return True
        self.unknown.append(entity_id)
        return False


def _found(source: KnowledgeSource, texts: list[str], attached: Sequence[KnowledgeSource]) -> list[list[Mention]]:
    asked = _Asked([source])
    found = link(source.needed_linker, texts, asked)
    notice([source], asked.unknown, sum(map(len, found)), attached)
    return found


def _given(
    sources: Sequence[KnowledgeSource],
    rows: Sequence[Iterable | Mapping],
    texts: list[str],
    attached: Sequence[KnowledgeSource],
) -> list[list[Mention]]:
    asked = _Asked(sources)
    checked = [check_mentions(in_rows(row), text, asked) for row, text in zip(rows, texts, strict=True)]
    notice(sources, asked.unknown, sum(map(len, checked)), attached)
    return checked


def _owned(mentions: Iterable[Mention], sources: Sequence[KnowledgeSource]) -> list[Linked]:
    """Give each mention to the first plugin that knows its entity."""
    owners = ((m, next((source for source in sources if source.knows(m.entity_id)), None)) for m in mentions)
    return [Linked(mention, owner) for mention, owner in owners if owner is not None]


def notice(
    sources: Sequence[KnowledgeSource], unknown: Sequence[str], known: int, attached: Sequence[KnowledgeSource]
) -> None:
    """Count the mentions whose entity nobody knows, and say once for each plugin that there are any.

    A knowledge base may cover a part of what texts mention, and that is no error; but a misspelt id looks the same.

    Args:
        sources: The plugins that these mentions are for.
        unknown: Ids of entities that none of them knows.
        known: How many mentions are of entities that they know.
        attached: All plugins of the model: what any of them knows, here or where it is switched off, is not unknown.
    """
    nobodys = [entity_id for entity_id in unknown if not any(source.knows(entity_id) for source in attached)]
    for source in sources:
        source.counts.known += known
        source.counts.unknown += len(nobodys)
    silent = [source for source in sources if not source.counts.warned]
    if not nobodys or not silent:
        return
    for source in silent:
        source.counts.warned = True
    count, base = silent[0].counts, silent[0].knowledge_base
    warnings.warn(
        f"{count.unknown} of {count.known + count.unknown} mentions so far are of entities that no attached plugin "
        f"knows, the first of {nobodys[0]!r:.200}: they get no virtual token, and nothing else is linked in their "
        f"place. Ids of {base.config.name!r} look like {base.entity_id(0)!r:.200}. If this one is misspelt, correct "
        "it; if the knowledge base covers only a part of your entities, all is well. This is said once; "
        "attachment.status() counts them.",
        stacklevel=4,
    )


def _merged(kept: list[Linked], new: list[Linked]) -> list[Linked]:
    """Add what overlaps nothing that is kept already."""
    if not kept:
        return new
    spans = [linked.mention for linked in kept]
    free = [n for n in new if all(n.mention.end <= s.start or s.end <= n.mention.start for s in spans)]
    return sorted([*kept, *free], key=lambda linked: linked.mention.start)
