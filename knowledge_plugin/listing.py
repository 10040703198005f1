"""Which plugins there are on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from knowledge_plugin.config import LIBRARY_NAME
from knowledge_plugin.hub.search import search_models


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
    """

    repo_id: str
    base_model: str | None
    license: str | None
    tags: tuple[str, ...]
    downloads: int
    last_modified: datetime | None


def list_plugins(
    base_model: str | None = None,
    *,
    domain: str | None = None,
    search: str | None = None,
    author: str | None = None,
    limit: int | None = None,
    token: str | bool | None = None,
) -> Iterator[PluginInfo]:
    """Find plugins on the Hub.

    Args:
        base_model: Only those made for this model, ``"user/name"``.
        domain: Only those whose card has this tag, such as ``"medicine"``.
        search: Only those whose name holds this text.
        author: Only those of this user or organisation.
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
    for model in search_models(tags, search=search, author=author, limit=limit, token=token):
        card = model.card_data.to_dict() if model.card_data else {}
        base = card.get("base_model")
        yield PluginInfo(
            repo_id=model.id,
            base_model=base[0] if isinstance(base, list) and base else base if isinstance(base, str) else None,
            license=card.get("license"),
            tags=tuple(model.tags or ()),
            downloads=model.downloads or 0,
            last_modified=model.last_modified,
        )
