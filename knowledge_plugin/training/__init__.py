"""Fitting the mapping network: in closed form, or by map-tuning through the frozen model."""

from knowledge_plugin.training.alignment import AlignmentReport, align
from knowledge_plugin.training.describing import DescribingTrainer
from knowledge_plugin.training.map_tuning import MapTuningTrainer

__all__ = ["AlignmentReport", "DescribingTrainer", "MapTuningTrainer", "align"]
