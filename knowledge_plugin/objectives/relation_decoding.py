"""A second task of map-tuning: from a mapped entity and a relation, write the other entity (DKPLM)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.errors import TrainingError
from knowledge_plugin.injection.answers import IGNORED
from knowledge_plugin.injection.embedding_hook import EmbeddingHook
from knowledge_plugin.injection.embeddings import embedding_rows, input_embedding
from knowledge_plugin.injection.hook import Hook
from knowledge_plugin.injection.tokenizer import base_tokenizer
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.knowledge_base.triples import checked_triples
from knowledge_plugin.objectives.side import Added, SideModule

# Names are short; of a long one the beginning tells which it is.
_LONGEST = 8


class RelationDecoding(SideModule):
    """Adds the loss of decoding relations to that of an objective: ``MapTuningTrainer(..., auxiliary={...})``.

    The word pieces of the other entity's name are written from nothing but the mapped entity ``h_0`` and a vector ``r``
    that is learned for each relation and direction: ``h_i = tanh(W (r * h_(i-1)))``; the likelihood of a piece is the
    softmax of ``h_i`` with the frozen word embeddings of all pieces that such names are made of. The recurrence is that
    of DKPLM (Zhang et al., AAAI 2022) as we know it from others' accounts; there it is a task of pre-training, and the
    softmax is sampled. The decoder is no part of the plugin; it is written into checkpoints, so that a training that
    is resumed goes on with it.

    A step draws as many triples as its batch has rows, from all of them: also of entities that no training text names.

    Args:
        model: The frozen model; its word embeddings are read.
        tokenizer: Its tokenizer.
        knowledge_base: That of the plugin.
        triples: (head, relation, tail) by id. Either end is decoded from the other.
        names: How entities are called that the knowledge base does not have; triples with an end that has neither a
            vector nor a name here are left out.
        weight: Of this loss beside the objective's. DKPLM weighs both alike.

    Attributes:
        examples: How many (entity, relation, name) there are to decode.

    Raises:
        TrainingError: No triple has an entity of the knowledge base at one end, and a name at the other; something is
            no triple of texts.

    Example:
        >>> decoding = RelationDecoding(model, tokenizer, kb, triples)  # doctest: +SKIP
        >>> MapTuningTrainer(model, plugin=plugin, auxiliary={"relations": decoding}, ...)  # doctest: +SKIP
    """

    rows: torch.Tensor
    ways: torch.Tensor
    wanted: torch.Tensor
    words: torch.Tensor

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        knowledge_base: KnowledgeBase,
        triples: Iterable[tuple[str, str, str]],
        *,
        names: Mapping[str, str] | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not weight > 0:
            raise TrainingError(f"weight: expected a number above 0, found {weight!r:.80}.")
        self.weight = weight
        examples = _in_pieces(base_tokenizer(tokenizer), _to_decode(knowledge_base, triples, names or {}))
        if not examples:
            raise TrainingError(
                f"relation decoding: expected triples with an entity of {knowledge_base!r} at one end and a named one "
                "at the other, found none. Give ids as the knowledge base has them, and names= for entities that it "
                "has not."
            )
        pieces = [name for _, name in examples]
        ways = {way: i for i, way in enumerate(dict.fromkeys(end.way for end, _ in examples))}
        words = torch.unique(torch.tensor([piece for name in pieces for piece in name], dtype=torch.long))
        place = {piece: i for i, piece in enumerate(words.tolist())}
        wanted = torch.full((len(pieces), max(map(len, pieces))), IGNORED)
        for i, name in enumerate(pieces):
            wanted[i, : len(name)] = torch.tensor([place[piece] for piece in name])
        self.examples = len(examples)
        self._row_of = {end.entity_id: end.row for end, _ in examples}
        self._looked_at: tuple[KnowledgeBase, int] | None = None
        vectors = embedding_rows(input_embedding(model), words).float()
        width = vectors.shape[1]
        # Read anew from the same arguments, so that none of them need travel in a checkpoint.
        for what, tensor in {
            "rows": torch.tensor([end.row for end, _ in examples]),
            "ways": torch.tensor([ways[end.way] for end, _ in examples]),
            "wanted": wanted,
            "words": vectors,
        }.items():
            self.register_buffer(what, tensor, persistent=False)
        self.relations = nn.Parameter(torch.ones(len(ways), width) + 0.1 * torch.randn(len(ways), width))
        self.recurrence = nn.Linear(width, width)
        self.sharpness = nn.Parameter(torch.zeros(()))  # states between -1 and 1 alone leave narrow models unsure
        # A component of a word embedding is small, by the root of its square's mean; tanh and softmax want ones.
        self.size = float(vectors.square().mean().sqrt())

    @contextmanager
    def step(self, model: nn.Module, hook: Hook, inputs: dict[str, Any]) -> Iterator[Added]:
        """Add the weighted loss of as many triples as the batch has rows; nothing in evaluation."""
        if not isinstance(hook, EmbeddingHook):
            raise TrainingError(
                "relation decoding: expected a plugin whose entities become tokens, method 'map-tuning' or 'passage'; "
                f"found a {type(hook).__name__}, whose entries have no place among words."
            )
        if not self.training:
            yield lambda outputs: None
            return
        assert hook.source is not None
        self._look_at(hook.source.knowledge_base)
        chosen = torch.randint(self.examples, (len(inputs["input_ids"]),))
        yield lambda outputs: self.weight * self(hook, chosen)

    def _look_at(self, knowledge_base: KnowledgeBase) -> None:
        """Make sure that in the plugin's knowledge base, the rows are those of the entities that are meant."""
        if self._looked_at == (now := (knowledge_base, len(knowledge_base))):
            return
        if wrong := [i for i, row in self._row_of.items() if knowledge_base.find_row(i) != row]:
            raise TrainingError(
                f"relation decoding: the plugin has {knowledge_base!r}, in which {wrong[0]!r:.80} is not where it was "
                "in the knowledge base that the triples were looked up in. Type: RelationDecoding(model, tokenizer, "
                "plugin.knowledge_base, triples)"
            )
        self._looked_at = now

    def forward(self, hook: EmbeddingHook, chosen: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of the word pieces of names, of examples by their numbers ``[n]``."""
        device, width = self.words.device, self.words.shape[1]
        chosen = chosen.to(device)
        mapped = hook.mapping(hook.vectors(self.rows[chosen])).to(device)
        hidden = mapped.view(len(chosen), -1, width).mean(1) / self.size  # of several tokens, what they have in common
        relation, wanted = self.relations[self.ways[chosen]], self.wanted[chosen]
        states = []
        for _ in range(int((wanted != IGNORED).any(0).sum())):
            hidden = torch.tanh(self.recurrence(relation * hidden))
            states.append(hidden)
        logits = torch.stack(states, 1) @ self.words.T * (self.sharpness.exp() / (self.size * width**0.5))
        return functional.cross_entropy(logits.flatten(0, 1), wanted[:, : len(states)].flatten(), ignore_index=IGNORED)


class _End(NamedTuple):
    """An entity with a vector, the relation and which of its ends is asked for, and what that is called."""

    entity_id: str
    row: int
    way: tuple[str, str]
    name: str


def _to_decode(kb: KnowledgeBase, triples: Iterable[tuple[str, str, str]], names: Mapping[str, str]) -> list[_End]:
    known: dict[str, tuple[int | None, str | None]] = {}
    ends = []
    for head, relation, tail in dict.fromkeys(checked_triples(triples, TrainingError)):
        for entity_id in (head, tail):
            if entity_id not in known:
                row = kb.find_row(entity_id)
                known[entity_id] = row, names.get(entity_id) if row is None else kb[entity_id].label
        for entity_id, other, end in ((head, tail, "tail"), (tail, head, "head")):
            row, name = known[entity_id][0], known[other][1]
            if row is not None and name:
                ends.append(_End(entity_id, row, (relation, end), name))
    return ends


def _in_pieces(tokenizer: PreTrainedTokenizerBase, ends: list[_End]) -> list[tuple[_End, list[int]]]:
    """Return what is to be written at each end; of a name that is blank, nothing can be asked for."""
    if not ends:
        return []
    encoded = tokenizer([end.name for end in ends], add_special_tokens=False)["input_ids"]
    return [(end, name[:_LONGEST]) for end, name in zip(ends, encoded, strict=True) if name]
