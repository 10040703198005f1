"""A tokenizer that links: ordinary tokens as before, and a virtual token at every mention.

The knowledge tokenizer is a copy of the user's tokenizer whose class is a subclass of that tokenizer's class, because
Trainer, pipelines and sentence-transformers ask with ``isinstance`` for what they know. Its vocabulary and its length
are those of the base; the user's tokenizer is not touched.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tokenizers import Encoding, Tokenizer
from transformers import BatchEncoding, PreTrainedTokenizerBase

from knowledge_plugin.config import Form
from knowledge_plugin.errors import AttachmentError, LinkingError, MentionError, TokenizerError
from knowledge_plugin.injection.hook import VirtualIds
from knowledge_plugin.injection.splicing import Separator, VirtualToken, splice
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.linking.mention import Linker, Mention, check_mentions, link


class KnowledgeSource:
    """One plugin's part in a tokenizer: whose mentions, found how, and which ids they become.

    Args:
        knowledge_base: Entities and their rows.
        linker: Finds mentions where none are given; ``None`` if they are always given.
        ids: The virtual ids of the knowledge base.
        form: ``"concat"`` or ``"replace"``.
        separator: Text between the virtual token and the mention in the concat form.
    """

    def __init__(
        self, knowledge_base: KnowledgeBase, linker: Linker | None, ids: VirtualIds, form: Form, separator: str
    ) -> None:
        self.knowledge_base = knowledge_base
        self.linker = linker
        self.ids = ids
        self.form = form
        self.separator = separator
        self.enabled = True
        self.mentions_linked = 0

    def find(self, texts: list[str]) -> list[list[Mention]]:
        """Return the mentions of each text whose entity is in the knowledge base.

        Raises:
            LinkingError: There is no linker.
        """
        if self.linker is None:
            raise LinkingError(
                f"the knowledge base {self.knowledge_base.config.name!r} has no aliases, so nothing finds mentions in "
                "a text. Pass linker=... to attach, or mentions=[[Mention(...)], ...] to the tokenizer."
            )
        return [self.known(mentions) for mentions in link(self.linker, texts)]

    def known(self, mentions: Iterable[Mention]) -> list[Mention]:
        """Keep the mentions whose entity is in the knowledge base: an unknown entity gets no virtual token."""
        return [mention for mention in mentions if mention.entity_id in self.knowledge_base]

    def token_id(self, mention: Mention) -> int:
        """Return the virtual id of a mention's entity."""
        token_id = self.ids.start + self.knowledge_base.row(mention.entity_id)
        if token_id not in self.ids:
            raise AttachmentError(
                f"the knowledge base has grown to {len(self.knowledge_base)} entities since the plugin was attached, "
                "more than the virtual ids reserved for it. Detach and attach again."
            )
        return token_id

    def __deepcopy__(self, memo: dict) -> KnowledgeSource:
        return self  # copies of a tokenizer are switched off together with it


_Words = Sequence[str]
_Mentions = list[list[Mention]]


class _LinkingBackend:
    """Stands where a tokenizer keeps its Rust backend, and puts virtual tokens in between its two steps.

    Everything but ``encode_batch`` is the backend's own. ``encode_batch`` is where all of ``tokenizer(...)``,
    ``encode`` and their relatives meet, whatever the version of transformers.
    """

    def __init__(self, backend: Tokenizer, source: KnowledgeSource, unknown_id: int | None) -> None:
        # The first step alone: no truncation, no special tokens, no padding.
        plain = Tokenizer.from_str(backend.to_str())
        plain.post_processor = None
        plain.no_truncation()
        plain.no_padding()
        # A word that the tokenizer does not know is a mention like any other; it needs knowledge most of all.
        special = {i for i, token in backend.get_added_tokens_decoder().items() if token.special} - {unknown_id}
        self.__dict__.update(
            backend=backend,
            plain=plain,
            source=source,
            special=frozenset(special),
            separator=_separator(plain, source),
            given=threading.local(),
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["backend"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.backend, name, value)
        if name == "encode_special_tokens":
            setattr(self.plain, name, value)

    @contextmanager
    def mentions(self, firsts: _Mentions, seconds: _Mentions | None) -> Iterator[None]:
        """Within, ``encode_batch`` is about texts with these mentions."""
        self.given.value = (firsts, seconds)
        try:
            yield
        finally:
            self.given.value = None

    def encode_batch(
        self, batch: list, add_special_tokens: bool = True, is_pretokenized: bool = False
    ) -> list[Encoding]:
        found = getattr(self.given, "value", None)
        if found is None:
            return self.backend.encode_batch(
                batch, is_pretokenized=is_pretokenized, add_special_tokens=add_special_tokens
            )
        firsts, seconds = found
        texts, pairs = _split_pairs(batch, is_pretokenized)
        first = self._spliced(texts, firsts, is_pretokenized, type_id=0)
        second: list[tuple[Encoding | None, Encoding | None]] = [(None, None)] * len(texts)
        if pairs is not None:
            second = self._spliced(pairs, seconds, is_pretokenized, type_id=1)
        encodings = [
            self._surround((spliced, spliced_pair), (bare, bare_pair), add_special_tokens)
            for (spliced, bare), (spliced_pair, bare_pair) in zip(first, second, strict=True)
        ]
        return self._padded(encodings)

    def _spliced(self, texts: list, mentions: _Mentions, is_pretokenized: bool, type_id: int) -> list[tuple]:
        """Return each text with and without virtual tokens."""
        result = []
        plain = self.plain.encode_batch(texts, is_pretokenized=is_pretokenized, add_special_tokens=False)
        for text, encoding, found in zip(texts, plain, mentions, strict=True):
            bare = splice(encoding, [], None, type_id=type_id) if type_id else encoding
            virtual = _virtual_tokens(text, found, self.source)
            spliced = splice(encoding, virtual, self.separator, self.special, type_id) if virtual else bare
            result.append((spliced, bare))
        return result

    def _surround(self, spliced: tuple, bare: tuple, special: bool) -> Encoding:
        """Truncate, add special tokens, pad to a fixed length: the library's second step."""
        if self._has_room(spliced[0], spliced[1], special):
            try:
                return self.backend.post_process(*spliced, special)
            except BaseException as error:  # a Rust panic is no Exception
                if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                    raise
        # Virtual tokens took the room that a stride or the other text needs; the text itself comes first.
        return self.backend.post_process(*bare, special)

    def _has_room(self, first: Encoding, second: Encoding | None, special: bool) -> bool:
        """Foresee the panic of a stride as long as the room that is left; it would be printed on stderr."""
        truncation = self.backend.truncation
        if truncation is None or second is None or truncation["strategy"] == "longest_first":
            return True
        fixed = first if truncation["strategy"] == "only_second" else second
        room = truncation["max_length"] - (self.backend.num_special_tokens_to_add(True) if special else 0)
        return room - len(fixed) > truncation["stride"]

    def _padded(self, encodings: list[Encoding]) -> list[Encoding]:
        padding = self.backend.padding
        if padding is None or padding["length"] is not None:  # none, or the second step has done it
            return encodings
        longest, multiple = max(map(len, encodings)), padding["pad_to_multiple_of"] or 1
        for encoding in encodings:
            encoding.pad(
                -(-longest // multiple) * multiple,
                direction=padding["direction"],
                pad_id=padding["pad_id"],
                pad_type_id=padding["pad_type_id"],
                pad_token=padding["pad_token"],
            )
        return encodings


class _KnowledgeTokenizer:
    """What a knowledge tokenizer does differently; mixed in before the class of the user's tokenizer.

    Beside the arguments of the base, calls take ``mentions=`` (and ``mentions_pair=`` for second texts): a list of
    mentions for each text, which then beat the linker.
    """

    _tokenizer: _LinkingBackend
    _knowledge_base_tokenizer: PreTrainedTokenizerBase
    _knowledge_target_mode = False

    def _encode_plus(
        self,
        text: Any,
        text_pair: Any = None,
        *,
        mentions: list | None = None,
        mentions_pair: list | None = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        # transformers says "target mode" while it encodes labels, and marks chats whose control tokens it guards.
        if self._knowledge_target_mode or kwargs.get("sanitize_control_tokens") or not self._tokenizer.source.enabled:
            return super()._encode_plus(text, text_pair, **kwargs)  # type: ignore[misc]
        words = kwargs.get("is_split_into_words", False)
        is_batch = isinstance(text, (list, tuple)) and (not words or bool(text and isinstance(text[0], (list, tuple))))
        texts, pairs = _split_pairs(list(text) if is_batch else [text], words)
        if text_pair is not None and len(text_pair):
            pairs = list(text_pair) if is_batch else [text_pair]
        firsts = self._find(texts, _for_batch(mentions, is_batch))
        seconds = self._find(pairs, _for_batch(mentions_pair, is_batch)) if pairs is not None else None
        count = sum(map(len, firsts)) + sum(map(len, seconds or []))
        if count == 0:
            return super()._encode_plus(text, text_pair, **kwargs)  # type: ignore[misc]
        self._tokenizer.source.mentions_linked += count
        with self._tokenizer.mentions(firsts, seconds):
            return super()._encode_plus(text, text_pair, **kwargs)  # type: ignore[misc]

    def _find(self, texts: list, given: list | None) -> _Mentions:
        strings = [text if isinstance(text, str) else " ".join(text) for text in texts]
        if given is None:
            return self._tokenizer.source.find(strings) if strings else []
        if len(given) != len(strings):
            raise MentionError(f"mentions: expected a list for each of {len(strings)} texts, found {len(given)}.")
        checked = [check_mentions(items, text) for items, text in zip(given, strings, strict=True)]
        return [self._tokenizer.source.known(items) for items in checked]

    def _decode(self, token_ids: Any, *args: Any, **kwargs: Any) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return super()._decode(self._without_virtual(ids), *args, **kwargs)  # type: ignore[misc]

    def _without_virtual(self, ids: list[int]) -> list[int]:
        separator = list(self._tokenizer.separator.ids) if self._tokenizer.separator else []
        words: list[int] = []
        i = 0
        while i < len(ids):
            if ids[i] in self._tokenizer.source.ids:
                i += 1 + (len(separator) if ids[i + 1 : i + 1 + len(separator)] == separator else 0)
            else:
                words.append(ids[i])
                i += 1
        return words

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        if isinstance(ids, int):
            return self._virtual_name(ids) or super().convert_ids_to_tokens(ids, skip_special_tokens)  # type: ignore[misc]
        tokens: list[str] = []
        for token_id in map(int, ids):
            name = self._virtual_name(token_id)
            if name is None:
                tokens += super().convert_ids_to_tokens([token_id], skip_special_tokens)  # type: ignore[misc]
            elif not skip_special_tokens:
                tokens.append(name)
        return tokens

    def _virtual_name(self, token_id: int) -> str | None:
        source = self._tokenizer.source
        row = token_id - source.ids.start
        return f"<{source.knowledge_base.entity_id(row)}>" if 0 <= row < len(source.knowledge_base) else None

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        mask = super().get_special_tokens_mask(token_ids_0, token_ids_1, already_has_special_tokens)  # type: ignore[misc]
        if not already_has_special_tokens:
            return mask
        # So that masked-language-model collators neither mask virtual tokens nor predict them.
        return [1 if i in self._tokenizer.source.ids else m for i, m in zip(token_ids_0, mask, strict=True)]

    def _add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        raise TokenizerError(
            "words cannot be added to a tokenizer while a plugin is attached, since virtual ids come right after the "
            "vocabulary. Detach, add them, resize the model's embeddings, and attach again."
        )

    def _switch_to_target_mode(self) -> None:
        self._knowledge_target_mode = True
        getattr(super(), "_switch_to_target_mode", lambda: None)()

    def _switch_to_input_mode(self) -> None:
        self._knowledge_target_mode = False
        getattr(super(), "_switch_to_input_mode", lambda: None)()

    @property
    def backend_tokenizer(self) -> Tokenizer:
        return self._tokenizer.backend

    def save_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """Save the base tokenizer: the plugin has a folder of its own."""
        return self._knowledge_base_tokenizer.save_pretrained(*args, **kwargs)

    def push_to_hub(self, *args: Any, **kwargs: Any) -> Any:
        """Push the base tokenizer."""
        return self._knowledge_base_tokenizer.push_to_hub(*args, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return knowledge_tokenizer, (self._knowledge_base_tokenizer, self._tokenizer.source)

    def __deepcopy__(self, memo: dict) -> PreTrainedTokenizerBase:
        return knowledge_tokenizer(copy.deepcopy(self._knowledge_base_tokenizer, memo), self._tokenizer.source)


def knowledge_tokenizer(tokenizer: PreTrainedTokenizerBase, source: KnowledgeSource) -> PreTrainedTokenizerBase:
    """Return a copy of a tokenizer that puts virtual tokens at mentions.

    Args:
        tokenizer: A fast tokenizer; it stays as it is.
        source: Whose mentions, and which ids they become.

    Raises:
        TokenizerError: A slow tokenizer, whose tokens do not know where in the text they come from, or no tokenizer.
    """
    check_tokenizer(tokenizer)
    linking = copy.deepcopy(tokenizer)
    linking._tokenizer = _LinkingBackend(linking._tokenizer, source, tokenizer.unk_token_id)
    linking._knowledge_base_tokenizer = tokenizer
    name = f"Knowledge{type(tokenizer).__name__}"
    linking.__class__ = type(name, (_KnowledgeTokenizer, type(tokenizer)), {"__module__": __name__})
    return linking


def check_tokenizer(tokenizer: object) -> None:
    """Raise :class:`TokenizerError` unless this is a tokenizer that can carry virtual tokens."""
    if isinstance(tokenizer, _KnowledgeTokenizer):
        raise TokenizerError(
            "expected the checkpoint's own tokenizer, found one that another attachment returned. Pass the tokenizer "
            "that you gave to that attachment, or detach it first."
        )
    if not isinstance(tokenizer, PreTrainedTokenizerBase) or not isinstance(
        getattr(tokenizer, "_tokenizer", None), Tokenizer
    ):
        raise TokenizerError(
            f"expected a fast tokenizer of transformers, found {type(tokenizer).__name__}. Its tokens must know where "
            "in the text they come from. Type: AutoTokenizer.from_pretrained(...)"
        )


def _separator(plain: Tokenizer, source: KnowledgeSource) -> Separator | None:
    if source.form == "replace":
        return None
    # Encoded after a word, as it stands in the text; never at a beginning, where some tokenizers add a blank.
    before = plain.encode("a", add_special_tokens=False)
    both = plain.encode(f"a {source.separator}".rstrip(), add_special_tokens=False)
    return Separator(tuple(both.ids[len(before.ids) :]), tuple(both.tokens[len(before.ids) :]))


def _split_pairs(batch: Sequence, is_pretokenized: bool) -> tuple[list, list | None]:
    """Split a batch into first and second texts; a pair is a tuple or list of two."""

    def is_pair(item: Any) -> bool:
        if isinstance(item, str) or not isinstance(item, (list, tuple)) or len(item) != 2:
            return False
        return not is_pretokenized or all(isinstance(part, (list, tuple)) for part in item)

    if not batch or not all(is_pair(item) for item in batch):
        return list(batch), None
    return [first for first, _ in batch], [second for _, second in batch]


def _for_batch(mentions: Any, is_batch: bool) -> list | None:
    """Bring ``mentions=`` to one list per text; a single text may come with a flat list."""
    if mentions is None or is_batch:
        return mentions
    mentions = list(mentions)
    nested = len(mentions) == 1 and isinstance(mentions[0], list)
    return mentions if nested else [mentions]


def _virtual_tokens(text: str | _Words, mentions: list[Mention], source: KnowledgeSource) -> list[VirtualToken]:
    if isinstance(text, str):
        return [VirtualToken(m.start, m.end, source.token_id(m)) for m in mentions]
    # The linker read the words with a blank between; find the words again in which a mention begins and ends.
    starts: list[int] = []
    position = 0
    for word in text:
        starts.append(position)
        position += len(word) + 1
    tokens = []
    for m in mentions:
        first = max(i for i, start in enumerate(starts) if start <= m.start)
        last = max(i for i, start in enumerate(starts) if start < m.end)
        tokens.append(VirtualToken(m.start - starts[first], m.end - starts[last], source.token_id(m), first, last))
    return tokens
