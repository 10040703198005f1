"""What a result is worth: controls beside every claim."""

from knowledge_plugin.evaluation.controls import random, shuffled
from knowledge_plugin.evaluation.coverage import count_unlinkable

__all__ = ["count_unlinkable", "random", "shuffled"]
