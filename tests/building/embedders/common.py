from __future__ import annotations

from knowledge_plugin import Entity
from knowledge_plugin.building.embedders import Source
from knowledge_plugin.knowledge_base.columns import to_columns

ENTITIES = [
    Entity("x:1", "Paris", description="capital of France", popularity=5),
    Entity("x:2", "Paris", description="a town in Texas", popularity=1),
    Entity("x:3", "Rome"),
    Entity("x:4", "New York", popularity=9),
]


def source_of(folder, entities=ENTITIES, triples=None):
    return Source(to_columns(entities), triples, folder, progress=False)
