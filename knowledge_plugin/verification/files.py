"""The config, the files that it lists, and the card: what plugins and knowledge bases have in common."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import yaml
from huggingface_hub import metadata_load

from knowledge_plugin.config import CONFIG_NAME, LIBRARY_NAME, MAX_CONFIG_BYTES, FileConfig, read_config
from knowledge_plugin.errors import ArtifactError, ConfigError
from knowledge_plugin.hub.folder import check_sizes, check_sums
from knowledge_plugin.verification.findings import Findings

_CARD_NAME = "README.md"
# Nothing here opens them, but others would.
_STRANGERS = {
    "adapter_config.json": "transformers would take the repo for an adapter of PEFT.",
    "*.bin": "a pickle can run code where it is opened.",
    "*.ckpt": "a pickle can run code where it is opened.",
    "*.pkl": "a pickle can run code where it is opened.",
    "*.pt": "a pickle can run code where it is opened.",
    "*.pth": "a pickle can run code where it is opened.",
    "*.py": "no plugin needs code of its own.",
}
_Config = TypeVar("_Config")


def read(folder: Path, cls: type[_Config], findings: Findings) -> _Config | None:
    """Read a config, ``None`` if it cannot be; its warnings become findings.

    Raises:
        ArtifactError: It is the config of something else.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            config = read_config(folder, cls)
        except ConfigError as error:
            findings.error(CONFIG_NAME, error)
            config = None
    for warning in caught:
        findings.warning(CONFIG_NAME, warning.message)
    return config


def check_files(folder: Path, files: Mapping[str, FileConfig], findings: Findings) -> set[str]:
    """Compare every file with its size and checksum; return those that are there in their full size."""
    present = set()
    for name, file in files.items():
        try:
            check_sizes(folder, {name: file})
            present.add(name)
            check_sums(folder, {name: file})
        except ArtifactError as error:
            findings.error(name, error)
    return present


def check_card(folder: Path, base_model: str | None, findings: Findings, *, library: bool = True) -> None:
    """Look whether people and the Hub's search learn from the card what this is.

    Args:
        folder: The whole repo.
        base_model: What the card should state, ``None`` if there is nothing to state.
        findings: Where to note it.
        library: Whether searches ask for the name of this library.
    """
    path = folder / _CARD_NAME
    if not path.is_file():
        return findings.warning(
            _CARD_NAME, "there is none: searches do not find the repo, and nobody learns what it is."
        )
    if path.stat().st_size > MAX_CONFIG_BYTES:
        return findings.error(_CARD_NAME, f"it has {path.stat().st_size} bytes; at most {MAX_CONFIG_BYTES} are read.")
    try:
        metadata = metadata_load(path)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        return findings.error(_CARD_NAME, f"its metadata, between the lines '---', is not YAML: {reason:.300}")
    if metadata is None:
        return findings.warning(_CARD_NAME, "it has no metadata: expected some between two lines '---' at the top.")
    if library and metadata.get("library_name") != LIBRARY_NAME:
        findings.warning(
            _CARD_NAME,
            f"expected 'library_name: {LIBRARY_NAME}' in its metadata, found {metadata.get('library_name')!r:.80}: "
            "searches for plugins do not find it.",
        )
    if base_model is not None and base_model not in _listed(metadata.get("base_model")):
        findings.warning(
            _CARD_NAME,
            f"expected 'base_model: {base_model:.80}' in its metadata, found {metadata.get('base_model')!r:.80}: "
            "searches for plugins of this model do not find it.",
        )
    if not metadata.get("license"):
        findings.warning(_CARD_NAME, "its metadata state no licence: nobody knows what they may do with it.")


def _listed(value: object) -> list:
    return value if isinstance(value, list) else [value]


def check_strangers(folder: Path, findings: Findings) -> None:
    """Look for files that do not belong into a plugin or a knowledge base, and that other software would use."""
    for pattern, reason in _STRANGERS.items():
        for path in sorted(folder.rglob(pattern))[:10]:
            findings.warning(path.relative_to(folder).as_posix(), f"this file does not belong here: {reason}")
