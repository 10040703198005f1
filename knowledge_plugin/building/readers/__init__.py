"""Readers: from files of other origin to entities, triples and vectors.

:func:`read_entities`, :func:`read_triples` and :func:`read_vectors` choose by the file's name. The function of each
format has its own options: see the modules ``tables``, ``triples``, ``ontologies``, ``wordnet``, ``wikidata``,
``published``, ``vectors``, ``pykeen_result``, ``hub_dataset`` and ``records``.
"""

from knowledge_plugin.building.readers.by_name import read_entities, read_triples, read_vectors
from knowledge_plugin.building.readers.columns import read_columns
from knowledge_plugin.building.readers.hub_dataset import read_dataset
from knowledge_plugin.building.readers.records import entities_from_records, read_records
from knowledge_plugin.building.readers.triples import Triple
from knowledge_plugin.building.readers.vectors import Vectors

__all__ = [
    "Triple",
    "Vectors",
    "entities_from_records",
    "read_columns",
    "read_dataset",
    "read_entities",
    "read_records",
    "read_triples",
    "read_vectors",
]
