"""Answers that are texts: which tokens of a text are the answer, and that no entity is linked in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.errors import KnowledgePluginError
from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.injection.tokenizer import _KnowledgeTokenizer
from knowledge_plugin.linking.mention import Mention

IGNORED = -100  # label of a place that is not scored, as everywhere in transformers


class Answered(NamedTuple):
    """A text with its answer in it.

    Attributes:
        text: All that the model reads.
        start: First character of the answer.
        end: One past its last character.
    """

    text: str
    start: int
    end: int

    @property
    def answer(self) -> str:
        """The answer itself."""
        return self.text[self.start : self.end]


# ---- models ----------------------------------------------------------------------------------------------------------


def predicts_words(model: nn.Module) -> bool:
    """Return whether the model has an output layer over its vocabulary."""
    get = getattr(bare_model(model), "get_output_embeddings", None)
    return get is not None and get() is not None


def generates(model: nn.Module) -> bool:
    """Return whether the model writes: a place predicts the next one."""
    can = getattr(bare_model(model), "can_generate", None)
    return can is not None and bool(can())


def is_encoder_decoder(model: nn.Module) -> bool:
    """Return whether the model reads one text and writes another, like T5."""
    return bool(getattr(getattr(bare_model(model), "config", None), "is_encoder_decoder", False))


# ---- texts -----------------------------------------------------------------------------------------------------------


def are_texts(labels: Sequence[Any] | None) -> bool:
    """Return whether labels are answers in words; with one text among them, all are meant to be."""
    return labels is not None and any(isinstance(label, str) for label in labels)


def check_answers(labels: Sequence[Any], error: type[KnowledgePluginError]) -> None:
    """Raise ``error`` unless each label is a text that says something."""
    for label in labels:
        if not isinstance(label, str) or not label.strip():
            raise error(
                f"a row has the label {label!r:.80}, and others have a text: expected a text in each that is not "
                'empty, such as {"text": "Ada lives in", "label": "Graz"}. Leave out rows without an answer.'
            )


def join_answer(prompt: str, answer: str) -> Answered:
    """Put an answer behind a text, with a blank between unless there is one.

    Example:
        >>> join_answer("Ada lives in", "Graz")
        Answered(text='Ada lives in Graz', start=13, end=17)
        >>> join_answer("Question: where?\\n", "Graz").text
        'Question: where?\\nGraz'
    """
    before = prompt if prompt[-1:].isspace() or answer[:1].isspace() else f"{prompt} "
    return Answered(before + answer, len(before), len(before) + len(answer))


# ---- tokens ----------------------------------------------------------------------------------------------------------


def answer_tokens(
    tokenizer: PreTrainedTokenizerBase, answered: Sequence[Answered], error: type[KnowledgePluginError]
) -> list[list[int]]:
    """Return the tokens of each answer as they stand in its text, without truncation.

    Args:
        tokenizer: The checkpoint's own: what is linked before an answer changes none of its tokens.
        answered: The texts.
        error: What is raised where an answer has no token.
    """
    options: dict[str, Any] = {"return_offsets_mapping": True, "verbose": False}
    encoded = tokenizer([each.text for each in answered], **options)
    found = []
    for each, ids, spans in zip(answered, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        found.append([ids[i] for i in _touched(each, spans)])
        if not found[-1]:
            raise error(f"the label {each.answer!r:.80} has no token: expected a text that the tokenizer can read.")
    return found


def answer_places(
    answered: Answered,
    ids: Sequence[int],
    spans: Sequence[Sequence[int]],
    expected: Sequence[int],
    *,
    follows: bool,
    error: type[KnowledgePluginError],
) -> list[int]:
    """Return at which places of a tokenized text its answer stands.

    Args:
        answered: The text.
        ids: Its tokens as the model reads them, perhaps with entities, perhaps cut.
        spans: Which characters of the text each token is; an empty span for what is none.
        expected: The tokens of the answer.
        follows: Whether each token is predicted by the one before it.
        error: What is raised where the answer is not there as a whole.
    """
    places = _touched(answered, spans)
    whole = [int(ids[i]) for i in places] == list(expected)
    if whole and not (follows and places[0] == 0):
        return places
    if whole and not answered.text[: answered.start].strip():
        raise error(
            f"nothing stands before the label {answered.answer!r:.80} that could predict its first token: expected a "
            "'text' that is not empty."
        )
    raise error(
        f"the label {answered.answer!r:.80} does not fit: its {len(expected)} tokens are to be read as a whole, after "
        f"one of the text at least, and the row is cut to {len(ids)} tokens. Type: tokenizer.model_max_length = ... "
        "(as many as the model can read), and give no smaller max_length; or leave the row out."
    )


def _touched(answered: Answered, spans: Sequence[Sequence[int]]) -> list[int]:
    # A token may take the blank before an answer with it.
    return [i for i, (start, end) in enumerate(spans) if start < end and start < answered.end and end > answered.start]


def prompt_mentions(
    tokenizer: PreTrainedTokenizerBase, prompts: list[str], given: list | None = None
) -> list[list[Mention]]:
    """Return what the tokenizer of an attachment links in texts before their answers stand in them.

    Args:
        tokenizer: Of an attachment.
        prompts: The texts without their answers.
        given: Mentions of each text, which beat the linker.
    """
    assert isinstance(tokenizer, _KnowledgeTokenizer)
    return [[linked.mention for linked in found] for found in tokenizer._find(prompts, given)]


@contextmanager
def cut_from(tokenizer: PreTrainedTokenizerBase, side: str) -> Iterator[None]:
    """Within, the tokenizer cuts what is too long at this side, ``"left"`` or ``"right"``."""
    before = tokenizer.truncation_side
    tokenizer.truncation_side = side
    try:
        yield
    finally:
        tokenizer.truncation_side = before
