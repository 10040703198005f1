"""Several embedders as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from knowledge_plugin.building.embedders.base import Embedder, Embedding, Source, describe
from knowledge_plugin.errors import KnowledgeBaseError, MissingDependencyError


@dataclass(frozen=True)
class CombinedEmbedder:
    """Puts the vectors of several embedders side by side, whitens them and keeps the widest directions.

    Each part is centred and scaled to the same total variance before, so that none drowns the others. Entities that
    any of them has no vector for have none here.

    Args:
        embedders: The parts.
        dim: Width of the result; ``None`` keeps all directions. At most the number of entities.
    """

    embedders: Sequence[Embedder]
    dim: int | None = None

    def __repr__(self) -> str:
        return f"CombinedEmbedder([{', '.join(map(describe, self.embedders))}], dim={self.dim})"

    def __call__(self, source: Source) -> Embedding:
        """Run the parts, each with a folder of its own."""
        try:
            from sklearn.decomposition import PCA
        except ModuleNotFoundError as error:
            raise MissingDependencyError("evaluation", "scikit-learn") from error
        parts = [self._part(i, embedder, source) for i, embedder in enumerate(self.embedders)]
        common = [i for i in parts[0].ids if all(i in ids for ids in [set(part.ids) for part in parts[1:]])]
        if not common:
            raise KnowledgeBaseError("no entity has a vector of every embedder that is to be combined.")
        table = np.concatenate([_standardised(part, common) for part in parts], axis=1)
        dim = min(*table.shape) if self.dim is None else self.dim
        if dim > min(table.shape):
            raise KnowledgeBaseError(
                f"dim: expected at most {min(table.shape)}, as there are {len(common)} entities and {table.shape[1]} "
                f"numbers for each; found {dim}."
            )
        pca = PCA(dim, whiten=True, svd_solver="full")
        vectors = pca.fit_transform(table).astype(np.float32)
        measures = {f"{i + 1}: {name}": value for i, part in enumerate(parts) for name, value in part.measures.items()}
        return Embedding(common, vectors, measures | {"variance kept": float(pca.explained_variance_ratio_.sum())})

    def _part(self, number: int, embedder: Embedder, source: Source) -> Embedding:
        folder = source.folder / f"part-{number + 1}"
        folder.mkdir(exist_ok=True)
        return embedder(Source(source.entities, source.triples, folder, source.progress))


def _standardised(part: Embedding, ids: list[str]) -> np.ndarray:
    row_of = {entity_id: row for row, entity_id in enumerate(part.ids)}
    vectors = np.asarray(part.vectors, np.float64)[[row_of[entity_id] for entity_id in ids]]
    vectors = vectors - vectors.mean(axis=0)
    total = np.sqrt((vectors**2).sum(axis=1).mean())
    return vectors / total if total else vectors
