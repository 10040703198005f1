"""A tokenizer that links: ordinary tokens as before, and a virtual token at every mention.

The knowledge tokenizer is a copy of the user's tokenizer whose class is a subclass of that tokenizer's class, because
Trainer, pipelines and sentence-transformers ask with ``isinstance`` for what they know. Its vocabulary and its length
are those of the base; the user's tokenizer is not touched.
"""

from __future__ import annotations

import copy
import itertools
import threading
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Encoding, Tokenizer
from transformers import BatchEncoding, PreTrainedTokenizerBase

from knowledge_plugin.errors import MentionError, TokenizerError
from knowledge_plugin.injection.source import KnowledgeSource, KnowledgeSources, Linked, PastSource
from knowledge_plugin.injection.splicing import Separator, SplicedText, VirtualToken, mark_inserted
from knowledge_plugin.linking.mention import in_rows

_HOW_MENTIONS_ARE_GIVEN = "Type: mentions=[[Mention(start, end, entity_id), ...], ...]"

_Words = Sequence[str]
_Mentions = list[list[Linked]]
_Pair = tuple[SplicedText, SplicedText | None]


class _Local(threading.local):
    """State of one thread, which a copy, also in another process, begins without."""

    def __reduce__(self) -> tuple:
        return _Local, ()


class _LinkingBackend:
    """Stands where a tokenizer keeps its Rust backend, and puts virtual tokens in between its two steps.

    Everything but ``encode_batch`` is the backend's own. ``encode_batch`` is where all of ``tokenizer(...)``,
    ``encode`` and their relatives meet, whatever the version of transformers.
    """

    def __init__(self, backend: Tokenizer, sources: KnowledgeSources, unknown_id: int | None) -> None:
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
            sources=sources,
            special=frozenset(special),
            unknown_id=unknown_id,
            separators={},
            given=_Local(),
            warned=False,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["backend"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.backend, name, value)
        if name == "encode_special_tokens":
            setattr(self.plain, name, value)

    def __reduce__(self) -> tuple:
        # Without what is kept to be faster, so that datasets can tell by a hash what it has tokenized before.
        return _LinkingBackend, (self.backend, self.sources, self.unknown_id)

    def separator(self, source: KnowledgeSource | PastSource) -> Separator | None:
        """Return the tokens between a virtual token and its mention, ``None`` in the replace form."""
        if source.form == "replace":
            return None
        if source.separator not in self.separators:
            self.separators[source.separator] = _encode_separator(self.plain, source.separator)
        return self.separators[source.separator]

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
        second: Sequence[SplicedText | None] = [None] * len(texts)
        if pairs is not None:
            second = self._spliced(pairs, seconds or [[] for _ in pairs], is_pretokenized, type_id=1)
        return self._padded([self._surround(*both, add_special_tokens) for both in zip(first, second, strict=True)])

    def _spliced(self, texts: list, mentions: _Mentions, is_pretokenized: bool, type_id: int) -> list[SplicedText]:
        plain = self.plain.encode_batch(texts, is_pretokenized=is_pretokenized, add_special_tokens=False)
        return [
            SplicedText(encoding, self._virtual_tokens(text, found), self.special, type_id)
            for text, encoding, found in zip(texts, plain, mentions, strict=True)
        ]

    def _virtual_tokens(self, text: str | _Words, found: list[Linked]) -> list[VirtualToken]:
        placed = [(linked.mention, self._token(linked)) for linked in found]
        if isinstance(text, str):
            return [VirtualToken(m.start, m.end, **token) for m, token in placed]
        # The linker read the words with a blank between; find the words again in which a mention begins and ends.
        starts = list(itertools.accumulate((len(word) + 1 for word in text), initial=0))[:-1]
        tokens = []
        for m, token in placed:
            first, last = bisect_right(starts, m.start) - 1, bisect_left(starts, m.end) - 1
            span = m.start - starts[first], m.end - starts[last]
            tokens.append(VirtualToken(*span, word=first, end_word=last, **token))
        return tokens

    def _token(self, linked: Linked) -> dict[str, Any]:
        source = linked.source
        return {
            "token_id": source.token_id(linked.mention),
            "token": linked.token,
            "separator": self.separator(source),
            "tokens": source.ids.tokens,
        }

    def _surround(self, first: SplicedText, second: SplicedText | None, special: bool) -> Encoding:
        """Truncate, add special tokens, pad to a fixed length: the library's second step."""
        for way in self._ways(first, second):
            encodings = way[0].encoding, None if way[1] is None else way[1].encoding
            encoding = self._post_processed(*encodings, special)
            if encoding is None:
                continue
            if way != (first, second):
                self._warn_of_lost_entities()
            if (whole := self._whole(encoding, *way, special)) != way:
                return self._surround(*whole, special)
            mark_inserted(encoding)
            return encoding
        return self.backend.post_process(*encodings, special)  # of the texts alone: the error is the user's own

    def _ways(self, first: SplicedText, second: SplicedText | None) -> list[_Pair]:
        """Return what to try in turn: virtual tokens may take the room that a stride or the other text needs.

        The text itself comes first, and then the entities of the text that is cut, which is the longer one.
        """
        if second is None:
            return [(first, None), (first.bare(), None)]
        truncation = self.backend.truncation
        cut_first = truncation is not None and truncation["strategy"] == "only_first"
        one = (first, second.bare()) if cut_first else (first.bare(), second)
        return [(first, second), one, (first.bare(), second.bare())]

    def _post_processed(self, first: Encoding, second: Encoding | None, special: bool) -> Encoding | None:
        """Return what the library makes of both texts, ``None`` if it cannot truncate them as it was told to."""
        if not self._has_room(first, second, special):
            return None
        try:
            return self.backend.post_process(first, second, special)
        except BaseException as error:  # a Rust panic is no Exception
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            return None

    def _has_room(self, first: Encoding, second: Encoding | None, special: bool) -> bool:
        """Foresee the panic of a stride as long as the room that is left; it would be printed on stderr."""
        truncation = self.backend.truncation
        if truncation is None or second is None or truncation["strategy"] == "longest_first":
            return True
        fixed = first if truncation["strategy"] == "only_second" else second
        around = self.backend.num_special_tokens_to_add(True) if special else 0
        return truncation["max_length"] - around - len(fixed) > truncation["stride"]

    def _whole(self, encoding: Encoding, first: SplicedText, second: SplicedText | None, special: bool) -> _Pair:
        """Return both texts without the entities that truncation cut off from their mentions."""
        truncation = self.backend.truncation
        # With a stride, what is cut at the end of one window stands whole in the next.
        if truncation is None or truncation["stride"]:
            return first, second
        length = len(first.encoding) + (0 if second is None else len(second.encoding))
        around = self.backend.num_special_tokens_to_add(second is not None) if special else 0
        if length + around <= truncation["max_length"]:
            return first, second
        side, sequences = truncation["direction"].lower(), encoding.sequence_ids
        whole = first.whole(sequences.count(0), side)
        return whole, None if second is None else second.whole(sequences.count(1), side)

    def _warn_of_lost_entities(self) -> None:
        if not self.warned:
            self.__dict__["warned"] = True
            warnings.warn(
                "entities were left out, since with their tokens no room is left for a text or its stride. Type a "
                "larger max_length, or a smaller stride.",
                stacklevel=2,
            )

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
    _knowledge_local: _Local

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
        as_label = getattr(self._knowledge_local, "target_mode", False)
        if mentions is not None and kwargs.get("sanitize_control_tokens"):
            raise MentionError("mentions=: a chat with sanitize_control_tokens is not linked, so it takes none.")
        enabled = self._tokenizer.sources.enabled
        if as_label or kwargs.get("sanitize_control_tokens") or not enabled:
            return super()._encode_plus(text, text_pair, **kwargs)  # type: ignore[misc]
        words = kwargs.get("is_split_into_words", False)
        is_batch = isinstance(text, (list, tuple)) and (not words or bool(text and isinstance(text[0], (list, tuple))))
        texts, pairs = _split_pairs(list(text) if is_batch else [text], words)
        if text_pair is not None and len(text_pair):
            pairs = list(text_pair) if is_batch else [text_pair]
        firsts = self._find(texts, _for_batch(mentions, is_batch))
        seconds = self._find(pairs, _for_batch(mentions_pair, is_batch)) if pairs is not None else None
        for source in enabled:
            source.counts.texts += len(texts) + len(pairs or ())
        if not any(firsts) and not any(seconds or []):
            return super()._encode_plus(text, text_pair, **kwargs)  # type: ignore[misc]
        with self._tokenizer.mentions(firsts, seconds):
            encoded = super()._encode_plus(text, text_pair, **kwargs)  # type: ignore[misc]
        # What the model will see, not what was found: truncation may have taken mentions away.
        for encoding in encoded.encodings or []:
            for token_id in encoding.ids:
                source = self._tokenizer.sources.of_token(token_id)
                if isinstance(source, KnowledgeSource) and source.ids.is_first(token_id):
                    source.counts.linked += 1
        return encoded

    def _find(self, texts: list, given: list | None) -> _Mentions:
        strings = [text if isinstance(text, str) else " ".join(text) for text in texts]
        if given is None:
            return self._tokenizer.sources.find(strings) if strings else []
        given = list(given)
        if len(given) != len(strings):
            raise MentionError(
                f"mentions: expected a list for each of {len(strings)} texts, found {len(given)}. "
                f"{_HOW_MENTIONS_ARE_GIVEN}"
            )
        if any(_is_mention(items) for items in given):
            raise MentionError(
                f"mentions: expected a list of mentions for each text of a batch, found {given!r:.200}. "
                f"{_HOW_MENTIONS_ARE_GIVEN}"
            )
        return self._tokenizer.sources.given(given, strings)

    def _decode(self, token_ids: Any, *args: Any, **kwargs: Any) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return super()._decode(self._without_virtual(ids), *args, **kwargs)  # type: ignore[misc]

    def _without_virtual(self, ids: list[int]) -> list[int]:
        for start, stop in reversed(list(self._inserted(ids))):
            ids = ids[:start] + ids[stop:]
        return ids

    def _inserted(self, ids: list[int]) -> Iterator[tuple[int, int]]:
        """Yield where virtual tokens and their separators stand among ids."""
        i = 0
        while i < len(ids):
            if (source := self._tokenizer.sources.of_token(ids[i])) is None:
                i += 1
                continue
            separator, row = self._tokenizer.separator(source), source.ids.row(ids[i])
            stop = i + 1
            while stop < len(ids) and ids[stop] == ids[stop - 1] + 1 and source.ids.row(ids[stop]) == row:
                stop += 1
            expected = [] if separator is None else list(separator.ids)
            stop += len(expected) if ids[stop : stop + len(expected)] == expected else 0
            yield i, stop
            i = stop

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

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        if isinstance(tokens, str):
            return self.convert_tokens_to_ids([tokens])[0]
        tokens = list(tokens)
        ids: list[int] = []
        for token, token_id in zip(tokens, super().convert_tokens_to_ids(tokens), strict=True):  # type: ignore[misc]
            # A word of the vocabulary stays what it is, even if it looks like the token of an entity.
            called = self._tokenizer.sources.called(token) if token_id in (None, self._tokenizer.unknown_id) else None
            if called is not None:
                # Several tokens of one entity bear one name, and stand one after the other.
                token_id = ids[-1] + 1 if ids and ids[-1] in called[:-1] else called[0]
            ids.append(token_id)
        return ids

    def _virtual_name(self, token_id: int) -> str | None:
        source = self._tokenizer.sources.of_token(token_id)
        entity_id = None if source is None else source.entity_id(token_id)
        return None if entity_id is None else f"<{entity_id}>"

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        mask = super().get_special_tokens_mask(token_ids_0, token_ids_1, already_has_special_tokens)  # type: ignore[misc]
        if not already_has_special_tokens:
            return mask
        # So that masked-language-model collators neither mask what was put in nor predict it.
        for start, stop in self._inserted(list(token_ids_0)):
            mask[start:stop] = [1] * (stop - start)
        return mask

    def _add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        wanted = [new_tokens] if isinstance(new_tokens, (str, AddedToken)) else list(new_tokens)
        vocabulary = self.get_vocab()  # type: ignore[attr-defined]
        if all(str(token) in vocabulary for token in wanted):  # such as a padding token that is the end of text
            return 0
        raise TokenizerError(
            "words cannot be added to a tokenizer while a plugin is attached, since virtual ids come right after the "
            "vocabulary. Detach, add them, resize the model's embeddings, and attach again."
        )

    def _switch_to_target_mode(self) -> None:
        self._knowledge_local.target_mode = True
        getattr(super(), "_switch_to_target_mode", lambda: None)()

    def _switch_to_input_mode(self) -> None:
        self._knowledge_local.target_mode = False
        getattr(super(), "_switch_to_input_mode", lambda: None)()

    @property
    def backend_tokenizer(self) -> Tokenizer:
        return self._tokenizer.backend

    def save_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """Save the base tokenizer: the plugin has a folder of its own."""
        return self._as_base().save_pretrained(*args, **kwargs)

    def push_to_hub(self, *args: Any, **kwargs: Any) -> Any:
        """Push the base tokenizer."""
        return self._as_base().push_to_hub(*args, **kwargs)

    def _as_base(self) -> PreTrainedTokenizerBase:
        """Return the base tokenizer with what has been set on this one since: a padding side, a chat template."""
        base = copy.deepcopy(self._knowledge_base_tokenizer)
        vars(base).update(_settings(self))
        return base

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _with_settings, (self._knowledge_base_tokenizer, self._tokenizer.sources, _settings(self))

    def __deepcopy__(self, memo: dict) -> PreTrainedTokenizerBase:
        base, settings = copy.deepcopy((self._knowledge_base_tokenizer, _settings(self)), memo)
        return _with_settings(base, self._tokenizer.sources, settings)


def knowledge_tokenizer(tokenizer: PreTrainedTokenizerBase, sources: KnowledgeSources) -> PreTrainedTokenizerBase:
    """Return a copy of a tokenizer that puts virtual tokens at mentions.

    Args:
        tokenizer: A fast tokenizer; it stays as it is.
        sources: Whose mentions, and which ids they become.

    Raises:
        TokenizerError: A slow tokenizer, whose tokens do not know where in the text they come from, or no tokenizer.
    """
    set_since = _settings(tokenizer) if isinstance(tokenizer, _KnowledgeTokenizer) else {}
    tokenizer = base_tokenizer(tokenizer)
    linking = copy.deepcopy(tokenizer)
    vars(linking).update(copy.deepcopy(set_since))
    linking._tokenizer = _LinkingBackend(linking._tokenizer, sources, tokenizer.unk_token_id)
    linking._knowledge_base_tokenizer = tokenizer
    # Labels are encoded in a mode of the tokenizer, and other threads encode inputs meanwhile.
    linking._knowledge_local = _Local()
    name = f"Knowledge{type(tokenizer).__name__}"
    linking.__class__ = type(name, (_KnowledgeTokenizer, type(tokenizer)), {"__module__": __name__})
    return linking


def _settings(tokenizer: object) -> dict[str, Any]:
    """Return all that can be set on a tokenizer but what makes it link."""
    return {k: v for k, v in vars(tokenizer).items() if k != "_tokenizer" and not k.startswith("_knowledge")}


def _with_settings(
    base: PreTrainedTokenizerBase, sources: KnowledgeSources, settings: dict[str, Any]
) -> PreTrainedTokenizerBase:
    linking = knowledge_tokenizer(base, sources)
    vars(linking).update(settings)
    return linking


def base_tokenizer(tokenizer: object) -> PreTrainedTokenizerBase:
    """Return the checkpoint's own tokenizer: the one given, or the one inside a knowledge tokenizer.

    Raises:
        TokenizerError: It cannot carry virtual tokens.
    """
    if isinstance(tokenizer, _KnowledgeTokenizer):
        return tokenizer._knowledge_base_tokenizer
    if not isinstance(tokenizer, PreTrainedTokenizerBase) or not isinstance(
        getattr(tokenizer, "_tokenizer", None), Tokenizer
    ):
        is_name = isinstance(tokenizer, (str, Path))
        found, name = (repr(str(tokenizer)), repr(str(tokenizer))) if is_name else (type(tokenizer).__name__, "...")
        raise TokenizerError(
            f"expected a fast tokenizer of transformers, found {found:.200}. Its tokens must know where in the text "
            f"they come from. Type: AutoTokenizer.from_pretrained({name:.200})"
        )
    return tokenizer


def _encode_separator(plain: Tokenizer, separator: str) -> Separator:
    # Encoded after a word, as it stands in the text; never at a beginning, where some tokenizers add a blank.
    before = plain.encode("a", add_special_tokens=False)
    both = plain.encode(f"a {separator}".rstrip(), add_special_tokens=False)
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
    mentions = list(in_rows(mentions))
    nested = len(mentions) == 1 and not _is_mention(mentions[0])
    return mentions if nested else [mentions]


def _is_mention(item: Any) -> bool:
    """Tell a mention, in whatever form, from a list of mentions: it begins with a number."""
    if isinstance(item, Mapping):
        return isinstance(item.get("start"), Integral)
    return isinstance(item, Sequence) and len(item) > 0 and isinstance(item[0], Integral)
