"""What is passed where a plugin belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from knowledge_plugin.errors import KnowledgePluginError
from knowledge_plugin.knowledge_base import KnowledgeBase
from knowledge_plugin.plugin import KnowledgePlugin


def check_plugin(given: Any, error: type[KnowledgePluginError]) -> None:
    """Make sure that a plugin is one, and not its folder or its knowledge base.

    Args:
        given: What was passed.
        error: What is raised if not.

    Example:
        >>> from knowledge_plugin.errors import TrainingError
        >>> check_plugin("alice/drugs", TrainingError)
        Traceback (most recent call last):
        knowledge_plugin.errors.TrainingError: plugin: expected a KnowledgePlugin, found 'alice/drugs'. Type: \
KnowledgePlugin.from_pretrained('alice/drugs')
    """
    if isinstance(given, KnowledgePlugin):
        return
    make = "KnowledgePlugin.for_model(model, knowledge_base, tokenizer)"
    if isinstance(given, (str, Path)):
        advice = f"KnowledgePlugin.from_pretrained({str(given)!r:.200})"
    elif isinstance(given, KnowledgeBase):
        advice = make
    else:
        advice = f"{make}, or KnowledgePlugin.from_pretrained(folder)"
    raise error(f"plugin: expected a KnowledgePlugin, found {given!r:.200}. Type: {advice}")
