"""Which plugins there are on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from huggingface_hub import ModelInfo
from torch import nn

from knowledge_plugin.config import CONFIG_NAME, LIBRARY_NAME, KnowledgePluginConfig, read_config
from knowledge_plugin.errors import KnowledgePluginError
from knowledge_plugin.hub.search import search_models
from knowledge_plugin.hub.snapshot import resolve_folder
from knowledge_plugin.injection.fingerprint import Verdict, compare
from knowledge_plugin.subfolders import CONFIG_PATTERNS, read_subfolders


@dataclass(frozen=True)
class PluginInfo:
    """What the Hub says of a plugin.

    Attributes:
        repo_id: What to give to :meth:`KnowledgePlugin.from_pretrained`.
        base_model: The model whose word-embedding space it leads to.
        license: Licence that its card states.
        tags: Tags of its card.
        downloads: In the last 30 days.
        last_modified: When it was last pushed to.
        subfolder: Which plugin of the repo, if it holds several and a model was given to choose by.
        fit: How that model's word embeddings compare with those that the plugin was made for: ``"same"``, or
            ``"descendant"`` (fine-tuned from them); ``None`` if no model was given.
    """

    repo_id: str
    base_model: str | None
    license: str | None
    tags: tuple[str, ...]
    downloads: int
    last_modified: datetime | None
    subfolder: str | None = None
    fit: Verdict | None = None


def list_plugins(
    base_model: str | None = None,
    *,
    domain: str | None = None,
    search: str | None = None,
    author: str | None = None,
    fits: nn.Module | None = None,
    limit: int | None = None,
    token: str | bool | None = None,
) -> Iterator[PluginInfo]:
    """Find plugins on the Hub.

    Args:
        base_model: Only those made for this model, ``"user/name"``.
        domain: Only those whose card has this tag, such as ``"medicine"``.
        search: Only those whose name holds this text.
        author: Only those of this user or organisation.
        fits: Only those that this model can take, by the fingerprint of its word embeddings, whatever it is called.
            Of each plugin found, its ``config.json`` is fetched.
        limit: At most so many.
        token: Access token, or ``None`` for the one that is logged in.

    Yields:
        The plugins, the most downloaded first.

    Raises:
        HubError: No network, or the Hub failed.

    Example:
        >>> for plugin in list_plugins("sentence-transformers/all-MiniLM-L6-v2"):  # doctest: +SKIP
        ...     print(plugin.repo_id, plugin.license)
    """
    tags = [LIBRARY_NAME, *([f"base_model:adapter:{base_model}"] if base_model else []), *([domain] if domain else [])]
    asked = limit if fits is None else None  # how many of those found will fit is not known
    found = map(_describe, search_models(tags, search=search, author=author, limit=asked, token=token))
    yield from found if fits is None else islice(_fitting(found, fits, token), limit)


def _describe(model: ModelInfo) -> PluginInfo:
    card = model.card_data.to_dict() if model.card_data else {}
    base = card.get("base_model")
    return PluginInfo(
        repo_id=model.id,
        base_model=base[0] if isinstance(base, list) and base else base if isinstance(base, str) else None,
        license=card.get("license"),
        tags=tuple(model.tags or ()),
        downloads=model.downloads or 0,
        last_modified=model.last_modified,
    )


def _fitting(found: Iterator[PluginInfo], model: nn.Module, token: str | bool | None) -> Iterator[PluginInfo]:
    for plugin in found:
        with suppress(KnowledgePluginError):  # what cannot be opened fits nothing
            folder = resolve_folder(plugin.repo_id, token=token, only=CONFIG_PATTERNS)
            configs: list[tuple[str | None, KnowledgePluginConfig]] = [*read_subfolders(folder).items()]
            if (folder / CONFIG_NAME).exists():
                configs = [(None, read_config(folder, KnowledgePluginConfig))]
            for subfolder, config in configs:
                if (fit := compare(config.base_model, model).verdict) != "different":
                    base = config.base_model.name or plugin.base_model
                    yield replace(plugin, subfolder=subfolder, base_model=base, fit=fit)
