"""What a result is worth: a plugin beside its controls, with intervals over entities."""

from knowledge_plugin.errors import EvaluationError
from knowledge_plugin.evaluation.bootstrap import Bootstrap, Difference, Interval
from knowledge_plugin.evaluation.controls import random, shuffled, zero
from knowledge_plugin.evaluation.coverage import count_unlinkable
from knowledge_plugin.evaluation.evaluator import evaluate
from knowledge_plugin.evaluation.probe import Probe, linear_probe
from knowledge_plugin.evaluation.report import Comparison, Report, Result

__all__ = [
    "Bootstrap",
    "Comparison",
    "Difference",
    "EvaluationError",
    "Interval",
    "Probe",
    "Report",
    "Result",
    "count_unlinkable",
    "evaluate",
    "linear_probe",
    "random",
    "shuffled",
    "zero",
]
