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
from knowledge_plugin.injection.answers import IGNORED, is_encoder_decoder
from knowledge_plugin.injection.embeddings import bare_model, input_embedding
from knowledge_plugin.injection.hook import Hook
from knowledge_plugin.injection.tokenizer import base_tokenizer
from knowledge_plugin.linking.mention import Mention
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
        config: Any = bare_model(model).config
        return cls(StateDecoder(config.get_text_config().hidden_size, words.shape[1], words.shape[0]))

    @contextmanager
    def step(self, model: nn.Module, hook: Hook | None, inputs: dict[str, Any]) -> Iterator[Added]:
        """Take what is wanted out of a batch, and add how far what is written is from it."""
        places, written = (inputs.pop(name) for name in _OWN)
        labels, inputs["output_hidden_states"] = inputs["labels"], True
        yield lambda outputs: self.loss(states_at(outputs, places), written, labels, input_embedding(model).weight)

    @torch.no_grad()
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
        """
        assert collator.tokenizer is not None
        tokenizer = base_tokenizer(collator.tokenizer)
        words, told = input_embedding(model).weight, []
        model.eval()
        for row in rows:
            batch, (found,) = collator.encode([row])
            batch = {name: tensor.to(words.device) for name, tensor in batch.items()}
            outputs = model(**batch, output_hidden_states=True)
            places = torch.tensor([[0, place.first, place.last] for place in found]).reshape(-1, 3)
            states, prompts = states_at(outputs, places), [collator.tokens(relation or "")] * len(found)
            written = self.decoder.write(states, prompts, words, end_token(tokenizer))
            texts = tokenizer.batch_decode(written, skip_special_tokens=True)
            told.append([(place.mention, text) for place, text in zip(found, texts, strict=True)])
        return told

    def loss(
        self, states: torch.Tensor, written: torch.Tensor, labels: torch.Tensor, words: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean over the tokens that have a label; 0 if none has."""
        scored = labels != IGNORED
        logits = self.decoder(states, written, words)[scored].float()
        return functional.cross_entropy(logits, labels[scored], reduction="sum") / scored.sum().clamp(min=1)


def states_at(outputs: Any, places: torch.Tensor) -> torch.Tensor:
    """Return the states ``[n, 2, width]`` of the first and the last token of mentions, of the last layer."""
    last = outputs["hidden_states"][-1]
    rows, first, final = places.to(last.device).unbind(1)
    return torch.stack([last[rows, first], last[rows, final]], 1)


def nothing_to_describe(model: nn.Module, tokenizer: PreTrainedTokenizerBase, form: Form) -> str | None:
    """Say what a model lacks for its mentions to be described."""
    if is_encoder_decoder(model):
        return "an encoder or a decoder. Type: AutoModel.from_pretrained(...)"
    return no_mention_in(form)
