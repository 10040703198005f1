"""How Kformer learns: by the task, through the frozen model."""

from knowledge_plugin.objectives.looking_up import lookup_objective

OBJECTIVES = {"task": lookup_objective()}
