"""How the bridge learns: passages written again, and answers as they are with the passage in the text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from knowledge_plugin.errors import TrainingError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.objectives.base import Objective
from knowledge_plugin.objectives.collator import TaskCollator
from knowledge_plugin.objectives.distilling import DistillingCollator, distilling, nothing_to_distil, with_description

# The passage stands before "This", and its words are what follows.
_INSTRUCTIONS = (
    "This means the same as:",
    "This, in other words:",
    "This says:",
    "This can be written as:",
)

OBJECTIVES = {
    "task": Objective(lambda seed: TaskCollator()),
    "distil": Objective(
        lambda seed: DistillingCollator(), step=distilling, missing=nothing_to_distil, knows=with_description
    ),
}


def paraphrase_rows(kb: KnowledgeBase, ids: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Return rows from which a bridge learns to say what a passage says: xRAG's first stage (its section 4).

    They are for ``MapTuningTrainer(objective="task")`` with a decoder, before it learns from answers.

    Args:
        kb: Whose descriptions are the passages.
        ids: Of some entities; ``None`` for all.

    Raises:
        TrainingError: None of them has a description.

    Example:
        >>> from knowledge_plugin import Entity
        >>> kb = KnowledgeBase.from_entities([Entity("x:1", "Graz", description="A town.")], [[1.0]], name="towns")
        >>> paraphrase_rows(kb)
        [{'text': 'This means the same as:', 'label': 'A town.', 'mentions': [(0, 4, 'x:1')]}]
    """
    entities = [entity for entity in (kb if ids is None else map(kb.__getitem__, ids)) if entity.description]
    if not entities:
        raise TrainingError("no entity has a description, which is the passage. Type: Entity(..., description=...)")
    return [
        {"text": _INSTRUCTIONS[i % len(_INSTRUCTIONS)], "label": entity.description, "mentions": [(0, 4, entity.id)]}
        for i, entity in enumerate(entities)
    ]
