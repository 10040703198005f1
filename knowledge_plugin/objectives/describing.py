"""A decoder reads nothing but a mention's state, and writes what is known of the entity (after UNTER)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.config import Form
from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.answers import IGNORED, is_encoder_decoder
from knowledge_plugin.injection.embeddings import bare_model, input_embedding
from knowledge_plugin.injection.hook import Hook
from knowledge_plugin.injection.tokenizer import base_tokenizer
from knowledge_plugin.linking.mention import Mention
from knowledge_plugin.modes import undisturbed
from knowledge_plugin.objectives.base import no_mention_in
from knowledge_plugin.objectives.decoder import StateDecoder
from knowledge_plugin.objectives.descriptions import DescribingCollator, end_token
from knowledge_plugin.objectives.side import Added, SideModule

_OWN = ("places", "written")


class Describing(SideModule):
    """The decoder, and the loss of what it writes: the mean over tokens of ``-log P(y | s, relation)``.

    Args:
        decoder: Reads states of the model's last layer.
    """

    def __init__(self, decoder: StateDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    @classmethod
    def of(cls, model: nn.Module, tokenizer: PreTrainedTokenizerBase | None = None) -> Describing:
        """Return one for the states and the words of a model."""
        words = input_embedding(model).weight
        config = bare_model(model).config.get_text_config()  # type: ignore[union-attr,operator]
        # Some of OPT bring what leaves the last layer to the width of the words.
        width = getattr(config, "word_embed_proj_dim", config.hidden_size)
        return cls(StateDecoder(width, words.shape[1], words.shape[0]))

    @contextmanager
    def step(self, model: nn.Module, hook: Hook | None, inputs: dict[str, Any]) -> Iterator[Added]:
        """Take what is wanted out of a batch, and add how far what is written is from it."""
        places, written = (inputs.pop(name) for name in _OWN)
        labels, inputs["output_hidden_states"] = inputs["labels"], True
        ids, words = inputs["input_ids"], input_embedding(model).weight
        yield lambda outputs: self.loss(states_at(outputs, places, ids), written, labels, words)

    def tell(
        self,
        model: nn.Module,
        collator: DescribingCollator,
        rows: Sequence[dict[str, Any]],
        relation: str | None = None,
    ) -> list[list[tuple[Mention, str]]]:
        """Return what the decoder writes of the mentions of each row, in words: reading out what a state holds.

        Args:
            model: The model that it learned with, with the plugin attached if it was.
            collator: That uses the attachment, or reads alone.
            rows: With ``text``, and perhaps ``mentions``.
            relation: In words; ``None`` for a description.

        Raises:
            TrainingError: The model's last states are not those of the tokens.
        """
        assert collator.tokenizer is not None
        tokenizer, end = base_tokenizer(collator.tokenizer), end_token(collator.tokenizer)
        words, told = input_embedding(model).weight, []
        with undisturbed(model):
            for row in rows:
                batch, (found,) = collator.encode([row])
                batch = {name: tensor.to(words.device) for name, tensor in batch.items()}
                outputs = model(**batch, output_hidden_states=True)
                places = torch.tensor([[0, place.first, place.last] for place in found], dtype=torch.long)
                states = states_at(outputs, places.reshape(-1, 3), batch["input_ids"])
                written = self.decoder.write(states, [collator.prompt(relation)] * len(found), words, end)
                texts = [str(tokenizer.decode(each, skip_special_tokens=True)) for each in written]
                told.append([(place.mention, text) for place, text in zip(found, texts, strict=True)])
        return told

    def loss(
        self, states: torch.Tensor, written: torch.Tensor, labels: torch.Tensor, words: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean over the tokens that have a label; 0 if none has."""
        scored = labels != IGNORED
        logits = self.decoder(states, written, words)[scored].float()
        return functional.cross_entropy(logits, labels[scored], reduction="sum") / scored.sum().clamp(min=1)


def states_at(outputs: Any, places: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Return the states ``[n, 2, width]`` of the first and the last token of mentions, of the last layer.

    Args:
        outputs: Of the model, with its hidden states.
        places: ``[n, 3]``: row, first and last token of each mention.
        ids: The tokens that the model read, ``[batch, length]``.

    Raises:
        TrainingError: There is no state for each token, so that places would be those of other words.
    """
    last = outputs["hidden_states"][-1]
    if last.shape[1] != ids.shape[1]:
        raise TrainingError(
            f"describe: expected a model whose last layer has a state for each of {ids.shape[1]} tokens, found "
            f"{last.shape[1]}: it pools them, or an adapter puts tokens of its own before them, as prompt tuning does. "
            "Type: LoraConfig(...), for an adapter that does not."
        )
    rows, first, final = places.to(last.device).unbind(1)
    return torch.stack([last[rows, first], last[rows, final]], 1)


def nothing_to_describe(model: nn.Module, tokenizer: PreTrainedTokenizerBase, form: Form) -> str | None:
    """Say what a model lacks for its mentions to be described."""
    if is_encoder_decoder(model):
        return "an encoder or a decoder. Type: AutoModel.from_pretrained(...)"
    return no_mention_in(form)
