"""The command for bug reports: ``env``."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from huggingface_hub import constants

from knowledge_plugin.cli.output import AsJson, print_json, print_values
from knowledge_plugin.config import FORMAT_VERSION, LIBRARY_VERSION

_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "huggingface_hub",
    "safetensors",
    "pyarrow",
    "numpy",
    "marisa-trie",
    "typer",
    "peft",
    "bitsandbytes",
    "sentence-transformers",
    "spacy",
    "gliner",
    "pykeen",
)


def env(as_json: AsJson = False) -> None:
    """Print what a bug report needs: versions and devices; no token, no name, no folder of yours."""
    values: dict[str, Any] = {
        "knowledge-plugin": LIBRARY_VERSION,
        "artifact format": FORMAT_VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "devices": ", ".join(_devices()),
        "Hub": f"{constants.ENDPOINT}{' (offline)' if constants.HF_HUB_OFFLINE else ''}",
    }
    values |= {package: _version(package) for package in _PACKAGES}
    if as_json:
        print_json(values)
    else:
        print_values("environment", values)


def _devices() -> list[str]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
