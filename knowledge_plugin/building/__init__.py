"""Making knowledge bases: from a graph to vectors."""

from knowledge_plugin.building.graph_embedding import embed_graph

__all__ = ["embed_graph"]
