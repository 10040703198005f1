"""Several plugins in one folder or repo, a subfolder each: one per base model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from torch import nn

from knowledge_plugin.config import CONFIG_NAME, KNOWLEDGE_BASE_FOLDER, KnowledgePluginConfig, read_config
from knowledge_plugin.errors import ArtifactError, IncompatibleModelError, KnowledgePluginError
from knowledge_plugin.injection.fingerprint import compare

# All that must be downloaded to know which plugins a repo holds.
CONFIG_PATTERNS = (CONFIG_NAME, f"*/{CONFIG_NAME}")


def read_subfolders(folder: Path) -> dict[str, KnowledgePluginConfig]:
    """Return the configs of the plugins that lie in subfolders, by their names; of what else lies there, nothing."""
    found = {}
    for path in sorted(folder.glob(f"*/{CONFIG_NAME}")):
        if path.parent.name != KNOWLEDGE_BASE_FOLDER:
            with suppress(KnowledgePluginError):
                found[path.parent.name] = read_config(path.parent, KnowledgePluginConfig)
    return found


def choose_subfolder(configs: Mapping[str, KnowledgePluginConfig], model: nn.Module) -> str:
    """Return the one whose fingerprint fits a model's word embeddings best.

    Raises:
        IncompatibleModelError: None fits.
        ArtifactError: Several fit equally well.
    """
    comparisons = {name: compare(config.base_model, model) for name, config in configs.items()}
    for verdict in ("same", "descendant"):
        fitting = [name for name, comparison in comparisons.items() if comparison.verdict == verdict]
        if len(fitting) > 1:
            raise ArtifactError(
                f"{len(fitting)} of these plugins are made for the word embeddings of this model. Say which one: "
                f"KnowledgePlugin.from_pretrained(..., {' or '.join(f'subfolder={name!r}' for name in fitting[:20])})"
            )
        if fitting:
            return fitting[0]
    reasons = "; ".join(
        f"{name} (for {configs[name].base_model.name or 'an unnamed model'}): {comparison.reason}"
        for name, comparison in list(comparisons.items())[:20]
    )
    raise IncompatibleModelError(
        f"none of these plugins is made for the word embeddings of this model: {reasons}. Make one for it: "
        "KnowledgePlugin.for_model(model, kb)"
    )


def check_subfolder(name: str) -> str:
    """Return a name that a new subfolder of a repo can have.

    Raises:
        ArtifactError: It leads elsewhere, or stands for something else.
    """
    if not name or name in (".", "..", KNOWLEDGE_BASE_FOLDER) or name.startswith(".") or set(name) & set("/\\\0"):
        raise ArtifactError(
            f"subfolder: expected one name such as 'bert-base', other than {KNOWLEDGE_BASE_FOLDER!r}, found {name!r}."
        )
    return name
