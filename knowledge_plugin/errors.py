"""Every error that this package raises on purpose.

All of them derive from :class:`KnowledgePluginError`, so that ``except KnowledgePluginError`` catches whatever
went wrong here and nothing else. A message says what was expected, what was found and what to type next.
"""

from __future__ import annotations


class KnowledgePluginError(Exception):
    """Base class of all errors of this package."""


class MissingDependencyError(KnowledgePluginError, ImportError):
    """An optional package is needed for this function and is not installed.

    Args:
        extra: The extra of this project that brings the package, for example ``"kge"``.
        package: The name of the missing package.
    """

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed. Type: pip install 'knowledge-plugin[{extra}]'")


class ConfigError(KnowledgePluginError, ValueError):
    """A ``config.json`` is malformed, has values of the wrong type, or values out of bounds."""


class FormatVersionError(ConfigError):
    """An artifact was written in a format that this version of the package does not know."""


class ArtifactError(KnowledgePluginError):
    """A folder is not the artifact that it should be: files missing, truncated, altered or out of place."""


class SaveError(KnowledgePluginError, OSError):
    """An artifact could not be written. What stood in the folder before stands there still."""


class HubError(KnowledgePluginError):
    """The Hub did not give what was asked for: no such repo, no access, no network, nothing in the cache."""


class KnowledgeBaseError(KnowledgePluginError, ValueError):
    """Entities, names or vectors that make no knowledge base."""


class UnknownRowError(KnowledgeBaseError, IndexError):
    """A row number that the knowledge base does not have."""


class UnknownEntityError(KnowledgeBaseError, KeyError):
    """An entity id that is not in the knowledge base."""

    # KeyError shows the repr of its argument; a sentence should be shown as a sentence.
    __str__ = Exception.__str__


class ReaderError(KnowledgePluginError, ValueError):
    """A file of entities, vectors or rows is damaged, out of bounds, or in another form; says file and line."""


class RecordError(KnowledgePluginError, ValueError):
    """A record of knowledge that cannot be, or a model that cannot be asked for one."""


class MentionError(KnowledgePluginError, ValueError):
    """Mentions that do not fit the text they came with."""


class LinkingError(KnowledgePluginError):
    """No way to find mentions: no linker, or a linker that broke its contract."""


class TokenizerError(KnowledgePluginError, TypeError):
    """A tokenizer that cannot carry virtual tokens."""


class MappingError(KnowledgePluginError, ValueError):
    """A mapping network whose shape or weights do not fit the knowledge base or the model."""


class IncompatibleModelError(KnowledgePluginError, ValueError):
    """The model's word-embedding space is not the one that the plugin was made for."""


class AttachmentError(KnowledgePluginError, RuntimeError):
    """Attached twice, detached twice, or the model was changed under an attached plugin."""


class GenerationError(KnowledgePluginError, ValueError):
    """An option of ``generate`` that cannot work with the virtual ids in the prompt."""


class EvaluationError(KnowledgePluginError, ValueError):
    """An evaluation that cannot work, said before the first batch where that can be known."""


class TrainingError(KnowledgePluginError, ValueError):
    """A training run that cannot work, said before its first step where that can be known."""
