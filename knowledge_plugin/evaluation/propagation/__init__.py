"""Does knowledge propagate? ECBD and Entity Inferences (Onoe et al., ACL 2023), for plugins on frozen models."""

from knowledge_plugin.evaluation.propagation.entities import Coverage
from knowledge_plugin.evaluation.propagation.findings import Contrast, Figure, Specificity
from knowledge_plugin.evaluation.propagation.probes import TASKS, EntityProbe
from knowledge_plugin.evaluation.propagation.propagate import propagation
from knowledge_plugin.evaluation.propagation.reading import ProbeSet, read_probes
from knowledge_plugin.evaluation.propagation.report import PropagationReport
from knowledge_plugin.evaluation.propagation.spans import Filled, SpanScorer, SpanScores

__all__ = [
    "TASKS",
    "Contrast",
    "Coverage",
    "EntityProbe",
    "Figure",
    "Filled",
    "ProbeSet",
    "PropagationReport",
    "SpanScorer",
    "SpanScores",
    "Specificity",
    "propagation",
    "read_probes",
]
