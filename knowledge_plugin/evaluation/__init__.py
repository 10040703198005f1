"""What a result is worth: controls beside every claim."""

from knowledge_plugin.evaluation.controls import random, shuffled

__all__ = ["random", "shuffled"]
