"""An extra term in the feed-forward of chosen layers, made of entries that the text itself looks up."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from knowledge_plugin.config import LayerInjectionConfig
from knowledge_plugin.errors import IncompatibleModelError
from knowledge_plugin.injection.embeddings import bare_model
from knowledge_plugin.injection.key_index import KeyIndex
from knowledge_plugin.injection.layer_hook import After, Before, LayerHook
from knowledge_plugin.injection.layers import feed_forward
from knowledge_plugin.injection.lookup import Found, Lookup
from knowledge_plugin.injection.network import Network, exactly, version
from knowledge_plugin.injection.placement import PlacedIndex
from knowledge_plugin.knowledge_base.embedding_index import EmbeddingIndex


class TermNetwork(Network):
    """A mapping network that adds to feed-forwards; each method says what its term is."""

    def lookup(self, number: int) -> Lookup:
        """Return what looks up for a layer, by its place among the chosen ones; several may share one."""
        raise NotImplementedError

    def forward(self, number: int, hidden: torch.Tensor, found: Found) -> torch.Tensor:
        """Return the term ``[batch, length, width]``, float32.

        Args:
            number: Place of the layer among the chosen ones.
            hidden: What goes into the feed-forward, float32 ``[batch, length, width]``.
            found: What was looked up.
        """
        raise NotImplementedError


class FeedForwardHook(LayerHook):
    """Adds the network's term to what comes out of feed-forwards.

    Args:
        vectors: Gives entity vectors for rows.
        mapping: The mapping network.
        config: Which layers, and how vectors are divided.
        top: How many entries are found.
    """

    mapping: TermNetwork

    def __init__(self, vectors: PlacedIndex, mapping: TermNetwork, config: LayerInjectionConfig, top: int) -> None:
        super().__init__(vectors, mapping, config)
        self.top = top

    def _start(self) -> None:
        super()._start()
        # The index of keys, and what it was made of: one tuple, because threads may look while another one makes it.
        self._keys: WeakKeyDictionary[Lookup, tuple[tuple, KeyIndex]] = WeakKeyDictionary()

    def attach(self, model: nn.Module) -> None:
        """Hang on the feed-forwards of the chosen layers.

        Raises:
            IncompatibleModelError: A layer is not there, or has no feed-forward that a term can be added to.
        """
        config: Any = bare_model(model).config
        if getattr(config, "chunk_size_feed_forward", 0):
            raise IncompatibleModelError(
                f"the model's feed-forwards read {config.chunk_size_feed_forward} tokens at a time "
                "(chunk_size_feed_forward), and a text is looked up as a whole. Type: "
                "model.config.chunk_size_feed_forward = 0, and load it anew"
            )
        width = self.mapping.lookup(0).query.in_features
        places = [feed_forward(layer, width) for layer in self.chosen_layers(model)]
        super().attach(model)
        for number, place in enumerate(places):
            self._handles.append(place.up.register_forward_pre_hook(Before(self, number), with_kwargs=True))
            self._handles.append(place.down.register_forward_hook(After(self, number)))
        self.note_places(model)

    def after(self, number: int, output: torch.Tensor) -> torch.Tensor:
        """Add the term to what comes out of it."""
        hidden = self.forward.kept.pop(number, None)
        if hidden is None:
            return output
        hidden = hidden.to(self.mapping.device, torch.float32)
        if hidden.dim() == 2:  # OPT lays all texts end to end
            hidden = hidden.view(self.forward.texts or 1, -1, hidden.shape[-1])
        with exactly(hidden.device):
            term = self.mapping(number, hidden, self.look_up(number, hidden))
        self.close()
        return output + term.view_as(output).to(output.device, output.dtype)

    def look_up(self, number: int, hidden: torch.Tensor) -> Found:
        """Return the entries that hidden states ask for; layers that share a look-up take what the first found."""
        lookup, found = self.mapping.lookup(number), self.forward.kept.setdefault("found", {})
        # The first looks up anew each time: where layers are checkpointed, it runs twice and must do the same twice.
        if number == 0 or self.mapping.lookup(number - 1) is not lookup or lookup not in found:
            queries = lookup.queries(hidden, self.mask_of(hidden))
            shown = self.shown_rows() is not None
            found[lookup] = self._among_shown(lookup, queries) if shown else self._search(lookup, queries)
        return found[lookup]

    def _among_shown(self, lookup: Lookup, queries: torch.Tensor) -> Found:
        rows = self.shown_rows()
        assert rows is not None
        vectors = self.vectors(rows).to(queries.device)
        cosines = queries @ lookup.keys(vectors[:, : self.config.key_dim]).T
        self.forward.scores.append(cosines * lookup.log_scale.exp())
        self.forward.rows.append(rows)
        scores, best = cosines.topk(min(self.top, len(rows)), dim=-1)
        return Found(vectors[best], scores)

    def _search(self, lookup: Lookup, queries: torch.Tensor) -> Found:
        current = self.vectors.index  # once: another thread may exchange it between search and reading
        # Of a query that is not a number, as in float16 beyond its range, FAISS finds nothing: -1.
        rows = self._index(lookup, current).search(queries.flatten(0, 1), self.top).clamp(min=0)
        different, place = torch.unique(rows, return_inverse=True)
        vectors = current.gather(different.to(current.device)).to(queries.device)
        place = place.view(*queries.shape[:2], -1).to(queries.device)
        keys = lookup.keys(vectors[:, : self.config.key_dim])[place]
        scores = (keys @ queries.unsqueeze(-1)).squeeze(-1)
        self.forward.scores.append(scores)
        self.forward.rows.append(rows.view_as(scores))
        return Found(vectors[place], scores)

    def _index(self, lookup: Lookup, current: EmbeddingIndex) -> KeyIndex:
        """Return the index of all keys, made anew when the vectors or the weights have changed."""
        made_of = (current, version(lookup.key.weight), version(lookup.key.bias))
        known = self._keys.get(lookup)
        if known is None or known[0][0] is not current or known[0][1:] != made_of[1:]:
            device = lookup.key.weight.device
            with torch.inference_mode(False), torch.no_grad(), exactly(device):
                keys = [
                    lookup.keys(current.gather(rows.to(current.device))[:, : self.config.key_dim].to(device)).cpu()
                    for rows in torch.arange(len(current)).split(16_384)
                ]
            known = self._keys[lookup] = (made_of, KeyIndex(torch.cat(keys)))
        return known[1]

    def __getstate__(self) -> dict:
        return super().__getstate__() | {"_keys": None}
