"""Knowledge plugins: give any frozen transformers checkpoint knowledge that it was never trained on."""

from knowledge_plugin.config import LIBRARY_VERSION as __version__
from knowledge_plugin.config import KnowledgePluginConfig
from knowledge_plugin.errors import KnowledgePluginError
from knowledge_plugin.injection.attachment import Attachment
from knowledge_plugin.knowledge_base import Entity, KnowledgeBase
from knowledge_plugin.linking import DictionaryLinker, Linker, Mention
from knowledge_plugin.plugin import KnowledgePlugin
from knowledge_plugin.training import MapTuningTrainer, align

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
    "__version__",
    "align",
]
