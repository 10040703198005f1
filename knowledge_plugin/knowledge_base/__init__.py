"""Knowledge bases: entities, a vector each, and the names they go by."""

from knowledge_plugin.knowledge_base.entity import Entity
from knowledge_plugin.knowledge_base.knowledge_base import KnowledgeBase, check_knowledge_base

__all__ = ["Entity", "KnowledgeBase", "check_knowledge_base"]
