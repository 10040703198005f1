"""Making knowledge bases: from files of entities, triples and vectors to a folder that opens in a moment."""

from knowledge_plugin.building.builder import build_knowledge_base
from knowledge_plugin.building.composition import ComposedVectors, compose_vectors, relation_vectors
from knowledge_plugin.building.field_masking import Template, training_examples
from knowledge_plugin.building.generation import generate_records
from knowledge_plugin.building.graph_embedding import embed_graph
from knowledge_plugin.building.key_values import key_value_vectors
from knowledge_plugin.building.plausibility import filter_records, judge_records
from knowledge_plugin.building.readers.records import entities_from_records, read_records
from knowledge_plugin.building.records import Provenance, Record, write_records
from knowledge_plugin.building.summary import BuildSummary

__all__ = [
    "BuildSummary",
    "ComposedVectors",
    "Provenance",
    "Record",
    "Template",
    "build_knowledge_base",
    "compose_vectors",
    "embed_graph",
    "entities_from_records",
    "filter_records",
    "generate_records",
    "judge_records",
    "key_value_vectors",
    "read_records",
    "relation_vectors",
    "training_examples",
    "write_records",
]
