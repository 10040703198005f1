"""Knowledge plugins: give any frozen transformers checkpoint knowledge that it was never trained on."""

import importlib
from typing import TYPE_CHECKING

import knowledge_plugin.methods  # noqa: F401  registers them
from knowledge_plugin.config import LIBRARY_VERSION as __version__
from knowledge_plugin.config import KnowledgePluginConfig
from knowledge_plugin.errors import KnowledgePluginError
from knowledge_plugin.injection.attachment import Attachment, attachments
from knowledge_plugin.knowledge_base import Entity, KnowledgeBase
from knowledge_plugin.linking import DictionaryLinker, Linker, Mention
from knowledge_plugin.listing import PluginInfo, list_plugins
from knowledge_plugin.plugin import KnowledgePlugin

__all__ = [
    "Attachment",
    "DictionaryLinker",
    "Entity",
    "KnowledgeBase",
    "KnowledgePlugin",
    "KnowledgePluginConfig",
    "KnowledgePluginError",
    "Linker",
    "MapTuningTrainer",
    "Mention",
    "PluginInfo",
    "Report",
    "__version__",
    "align",
    "attachments",
    "evaluate",
    "list_plugins",
]

if TYPE_CHECKING:
    from knowledge_plugin.evaluation import Report, evaluate
    from knowledge_plugin.training import MapTuningTrainer, align
else:
    # Whoever only uses a plugin need not wait for transformers' Trainer, which takes longer to import than all else.
    _LAZY = {"MapTuningTrainer": "training", "align": "training", "Report": "evaluation", "evaluate": "evaluation"}

    def __getattr__(name):
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        room = importlib.import_module(f"knowledge_plugin.{_LAZY[name]}")
        globals()[name] = value = getattr(room, name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
