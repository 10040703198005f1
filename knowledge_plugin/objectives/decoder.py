"""A small decoder that reads one state and writes a text, in the words of the model that the state is from."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from knowledge_plugin.injection.network import Network
from knowledge_plugin.modes import undisturbed

MOST = 64  # tokens that it reads and writes
_HEADS = (8, 4, 2, 1)


class StateDecoder(Network):
    """Reads ``s = W [h_first; h_last]``, perhaps a prompt, and writes tokens.

    Of a text it sees nothing but ``s``. Words it reads and writes as rows of the frozen model's word embeddings, each
    brought to mean 0 and variance 1, so that it has no weights for a vocabulary but a bias.

    Args:
        state_width: Width of the states ``h``.
        word_width: Width of the word embeddings.
        vocabulary: Rows of the word embeddings.
        layers: Of the decoder.
        dropout: In the decoder.

    Example:
        >>> decoder, words = StateDecoder(state_width=16, word_width=8, vocabulary=30), torch.randn(30, 8)
        >>> decoder(torch.randn(5, 2, 16), torch.zeros(5, 3, dtype=torch.long), words).shape
        torch.Size([5, 3, 30])
    """

    def __init__(
        self, state_width: int, word_width: int, vocabulary: int, layers: int = 1, dropout: float = 0.1
    ) -> None:
        super().__init__()
        heads = next(heads for heads in _HEADS if word_width % heads == 0)
        self.state = nn.Linear(2 * state_width, word_width)
        self.position = nn.Embedding(MOST, word_width)
        layer = nn.TransformerEncoderLayer(
            word_width, heads, 2 * word_width, dropout, "gelu", batch_first=True, norm_first=True
        )
        # With a causal mask it is a decoder; of attention to an encoder there would be one place to look at.
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(word_width), enable_nested_tensor=False)
        self.out = nn.Linear(word_width, word_width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        nn.init.normal_(self.position.weight, std=0.02)

    def forward(self, states: torch.Tensor, written: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Return what it would write at each place, given what stands before.

        Args:
            states: ``[n, 2, state_width]``, of the first and the last token of each mention.
            written: Token ids ``[n, length]``: prompt and text, padded behind. What stands last is predicted, not read.
            words: The word embeddings ``[vocabulary, word_width]``, frozen.

        Returns:
            Logits ``[n, length, vocabulary]``.
        """
        words = functional.layer_norm(words.detach().float(), words.shape[1:])
        read = torch.cat([self.state(states.float().flatten(1))[:, None], words[written[:, :-1]]], 1)
        length = read.shape[1]
        causal = nn.Transformer.generate_square_subsequent_mask(length, device=read.device)
        hidden = self.layers(read + self.position.weight[:length], mask=causal, is_causal=True)
        return functional.linear(self.out(hidden), words / words.shape[1] ** 0.5, self.bias)

    def write(
        self, states: torch.Tensor, prompts: list[list[int]], words: torch.Tensor, end: int | None, most: int = MOST
    ) -> list[list[int]]:
        """Return the likeliest tokens, one after the other, up to the end.

        Args:
            states: ``[n, 2, state_width]``.
            prompts: Token ids to go on from, for each state.
            words: As in :meth:`forward`.
            end: The token that ends a text; it is not returned.
            most: Tokens at most.
        """
        with undisturbed(self):
            return [self._go_on(*row, words, end, most) for row in zip(states, prompts, strict=True)]

    def _go_on(
        self, state: torch.Tensor, prompt: list[int], words: torch.Tensor, end: int | None, most: int
    ) -> list[int]:
        ids = list(prompt)
        while len(ids) - len(prompt) < most and len(ids) < MOST:
            # The last place is predicted, and what stands there is not read.
            logits = self(state[None], torch.tensor([[*ids, 0]], device=state.device), words)
            ids.append(int(logits[0, -1].argmax()))
            if ids[-1] == end:
                break
        return [i for i in ids[len(prompt) :] if i != end]
