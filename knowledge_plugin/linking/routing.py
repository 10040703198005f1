"""Which of several linkers a text, or a name in it, is for: the one that finds the most in the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from knowledge_plugin.errors import LinkingError
from knowledge_plugin.linking.mention import Linker, Mention, link, refuse_one_text

RouteBy = Literal["coverage", "mentions"]
RoutePer = Literal["text", "mention"]


class LinkRouter:
    """Chooses among several linkers, by what each of them links in a text.

    The score of a linker in a text is::

        coverage:  sum over its mentions of  characters * score  /  characters of the text
        mentions:  sum over its mentions of  score

    where the score of a mention is the prior of its entity if it comes from a
    :class:`~knowledge_plugin.linking.DictionaryLinker`: a name that a knowledge base is sure of counts more than one
    that it has several entities for. The highest score wins; of equal scores the linker that was given first, as with
    plugins that are attached together. A text in which nobody links anything is for nobody.

    It keeps nothing between calls, and each text is judged for itself: batches cannot mix.

    Args:
        linkers: By name, in order.
        by: ``"coverage"`` or ``"mentions"``.
        per: ``"mention"`` (the default) lets all link, and gives a name that several of them link to the one with the
            highest score in that text. ``"text"`` gives a text as a whole to one linker.
        known: For each name, whether an entity is known; mentions of others do not count. A name that is missing
            knows all.

    Raises:
        LinkingError: No linkers, one that is none, or another ``by`` or ``per``.

    Example:
        >>> def find(names):
        ...     return lambda texts: [
        ...         [Mention(t.index(n), t.index(n) + len(n), f"x:{n}") for n in names if n in t] for t in texts
        ...     ]
        >>> router = LinkRouter({"planets": find(["Mercury", "Venus"]), "metals": find(["Mercury", "lead"])})
        >>> router.choose(["Mercury and lead", "Venus", "the sea", "Mercury"])
        ['metals', 'planets', None, 'planets']
    """

    def __init__(
        self,
        linkers: Mapping[str, Linker],
        *,
        by: RouteBy = "coverage",
        per: RoutePer = "mention",
        known: Mapping[str, Callable[[str], bool]] | None = None,
    ) -> None:
        if not linkers:
            raise LinkingError("expected linkers to choose among, found none. Type: LinkRouter({name: linker, ...})")
        for name, linker in linkers.items():
            if not callable(linker):
                raise LinkingError(f"{name}: expected a linker, found {linker!r:.80}. Type: DictionaryLinker(kb)")
        if by not in get_args(RouteBy):
            raise LinkingError(f"by: expected 'coverage' or 'mentions', found {by!r:.80}.")
        if per not in get_args(RoutePer):
            raise LinkingError(f"per: expected 'text' or 'mention', found {per!r:.80}.")
        self.linkers, self.by, self.per, self.known = dict(linkers), by, per, dict(known or {})

    def scores(self, texts: list[str]) -> list[dict[str, float]]:
        """Return for each text the score of each linker, from 0 (it links nothing) up.

        Raises:
            LinkingError: A linker did not give the mentions of each text.
            MentionError: A mention does not fit its text.
        """
        return self._scored(texts, self.find(texts))

    def choose(self, texts: list[str]) -> list[str | None]:
        """Return for each text the name of its linker, ``None`` where nobody links anything.

        Raises:
            LinkingError: As :meth:`scores`.
            MentionError: As :meth:`scores`.
        """
        return [_best(scores) for scores in self.scores(texts)]

    def find(self, texts: list[str]) -> dict[str, list[list[Mention]]]:
        """Return what each linker finds in each text, whoever the text is for.

        Raises:
            LinkingError: As :meth:`scores`.
            MentionError: As :meth:`scores`.
        """
        refuse_one_text(texts)
        return {name: link(linker, texts, self.known.get(name)) for name, linker in self.linkers.items()}

    def linker(self, name: str) -> Linker:
        """Return a linker that lets through what ``name`` links and what is for it, and nothing else.

        To know what is for it, it asks all linkers: with ``n`` of these in use, each text is linked ``n`` times by
        every one.

        Raises:
            LinkingError: No linker has this name.
        """
        if name not in self.linkers:
            raise LinkingError(f"expected one of {', '.join(self.linkers)}, found {name!r:.80}.")
        return _Routed(self, name)

    def _scored(self, texts: list[str], found: dict[str, list[list[Mention]]]) -> list[dict[str, float]]:
        return [
            {name: self._score(text, mentions[i]) for name, mentions in found.items()} for i, text in enumerate(texts)
        ]

    def _score(self, text: str, mentions: list[Mention]) -> float:
        if self.by == "mentions":
            return sum(mention.score for mention in mentions)
        return sum((mention.end - mention.start) * mention.score for mention in mentions) / max(1, len(text))


class _Routed:
    """A class, not a function within one, since tokenizers with their linkers are pickled for worker processes."""

    def __init__(self, router: LinkRouter, name: str) -> None:
        self.router, self.name = router, name

    def __call__(self, texts: list[str]) -> list[list[Mention]]:
        found = self.router.find(texts)
        scores = self.router._scored(texts, found)
        return [
            self._mine({name: mentions[i] for name, mentions in found.items()}, of_text)
            for i, of_text in enumerate(scores)
        ]

    def _mine(self, found: dict[str, list[Mention]], scores: dict[str, float]) -> list[Mention]:
        if self.router.per == "text":
            return found[self.name] if _best(scores) == self.name else []
        kept: list[Mention] = []
        # The highest score first; of equals, whoever was given first.
        for name in sorted(found, key=lambda each: -scores[each]):
            free = [m for m in found[name] if all(m.end <= k.start or k.end <= m.start for k in kept)]
            if name == self.name:
                return free
            kept += free
        raise AssertionError(self.name)  # it is one of the linkers


def _best(scores: dict[str, float]) -> str | None:
    best = max(scores, key=scores.__getitem__)  # of equals the first
    return best if scores[best] > 0 else None
