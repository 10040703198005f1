"""Finding repos on the Hub, by the tags that cards carry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from huggingface_hub import HfApi, ModelInfo

from knowledge_plugin.config import LIBRARY_NAME, LIBRARY_VERSION
from knowledge_plugin.hub.translation import translated


def search_models(
    tags: Sequence[str],
    *,
    search: str | None = None,
    author: str | None = None,
    limit: int | None = None,
    token: str | bool | None = None,
) -> Iterator[ModelInfo]:
    """Yield the model repos that carry all of these tags, the most downloaded first.

    Raises:
        HubError: No network, or the Hub failed.
    """
    api = HfApi(token=token, library_name=LIBRARY_NAME, library_version=LIBRARY_VERSION)
    with translated("searching the Hub"):
        yield from api.list_models(
            filter=list(tags), search=search, author=author, limit=limit, sort="downloads", full=True, cardData=True
        )
