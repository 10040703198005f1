"""Vectors from the graph of triples."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from knowledge_plugin.building.embedders.base import Embedding, Source
from knowledge_plugin.building.graph_embedding import embed_and_measure_graph
from knowledge_plugin.errors import KnowledgeBaseError

_FEWEST = 10  # held-out triples, below which ranks say nothing


@dataclass(frozen=True)
class GraphEmbedder:
    """Trains a knowledge-graph embedding with PyKEEN; entities in no triple have no vector.

    A share of the triples is held out: training stops when half of them are ranked no better for a while, and the
    ranks of the other half are the measures (hits@1, hits@10, MRR; realistic ranks, known triples filtered out).

    Args:
        model: ``"TransE"``, ``"RotatE"``, ``"DistMult"``, ``"ComplEx"``, or another model of PyKEEN.
        dim: Width of a vector.
        epochs: At most; ``None`` as for :func:`~knowledge_plugin.building.graph_embedding.embed_graph`.
        held_out: Share of the triples that is held out, none if that makes fewer than ten; 0 trains on all of them, for
            all the epochs, unmeasured.
        seed: Of everything random.
        device: Where to train.
    """

    model: str = "TransE"
    dim: int = 128
    epochs: int | None = None
    held_out: float = 0.1
    seed: int = 0
    device: str = "cpu"

    def __call__(self, source: Source) -> Embedding:
        """Train; nothing is left for an interrupted build to go on from."""
        if source.triples is None or not source.triples.num_rows:
            raise KnowledgeBaseError(
                f"{self.model} learns from triples, and there are none. Type: triples=... (--triples FILE), or take "
                "the embedder 'text', which reads labels and descriptions."
            )
        held_out = self.held_out
        if held_out and source.triples.num_rows * held_out < _FEWEST:
            warnings.warn(
                f"{source.triples.num_rows} triples are too few to hold any out: nothing is measured.", stacklevel=2
            )
            held_out = 0.0
        columns = (source.triples[name].to_pylist() for name in ("head", "relation", "tail"))
        ids, vectors, measures = embed_and_measure_graph(
            zip(*columns, strict=True),
            held_out=held_out,
            model=self.model,
            dim=self.dim,
            epochs=self.epochs,
            seed=self.seed,
            device=self.device,
            progress=source.progress,
        )
        return Embedding(ids, vectors.numpy(), measures)
