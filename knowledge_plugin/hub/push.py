"""From a folder to the Hub: one commit, in which all files change together or none does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from huggingface_hub import CommitInfo, HfApi
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from knowledge_plugin.config import KNOWLEDGE_BASE_FOLDER, LIBRARY_NAME, LIBRARY_VERSION
from knowledge_plugin.hub.card import publish_card
from knowledge_plugin.hub.translation import translated

_CARD = "README.md"


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    repo_type: str = "model",
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | bool | None = None,
    commit_message: str | None = None,
    replaces: Sequence[str] = (),
    complete: Callable[[str | None], None] | None = None,
) -> CommitInfo:
    """Push a folder to a repo, which is made if it is not there.

    Large files are uploaded first and committed with all others at once, so that no reader ever sees a new mapping
    beside an old index. What the Hub has already is not sent again: a push that was interrupted goes on where it broke
    off, and one that changes nothing makes no commit. A README.md keeps what people made of it.

    Args:
        folder: What to push; each README.md is merged with the repo's.
        repo_id: ``"user/name"``.
        repo_type: ``"model"`` or ``"dataset"``.
        private: Whether a repo that is made is private; ``None`` for the user's default.
        revision: Branch, made if it is not there; ``None`` for main.
        create_pr: Open a pull request instead.
        token: Access token, or ``None`` for the one that is logged in.
        commit_message: First line of the commit.
        replaces: Patterns of files in the repo that go if the folder does not have them.
        complete: Called with the commit that is pushed on top of, for what depends on what lies there.

    Returns:
        What huggingface_hub says of the commit.

    Raises:
        ArtifactError: ``repo_id`` is no repo id.
        HubError: No access, no network, someone else pushed at the same time, or the Hub failed.
    """
    api = HfApi(token=token, library_name=LIBRARY_NAME, library_version=LIBRARY_VERSION)
    where = f"{repo_id}@{revision}" if revision else repo_id
    with translated(where, repo_type=repo_type), warnings.catch_warnings():
        if not (create_pr and api.repo_exists(repo_id, repo_type=repo_type)):
            api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
        if revision is not None and not revision.startswith("refs/") and not create_pr:
            api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        # Merged into what stands at this commit, and committed only on top of it.
        parent = api.repo_info(repo_id, repo_type=repo_type, revision=revision).sha
        if complete is not None:
            complete(parent)
        for card in folder.rglob(_CARD):
            _merge_card(api, card, card.relative_to(folder).as_posix(), repo_id, repo_type, parent)
        # The tables of a plugin belong into its model repo, whatever the client thinks of Parquet there.
        warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
        upload = partial(
            api.upload_folder,
            repo_id=repo_id,
            repo_type=repo_type,
            folder_path=folder,
            revision=revision,
            create_pr=create_pr,
            parent_commit=parent,
            commit_message=commit_message or f"Upload with {LIBRARY_NAME} {LIBRARY_VERSION}",
            delete_patterns=list(replaces) or None,
        )
        try:
            return upload()
        except ValueError as error:
            if "Invalid metadata in README.md" not in str(error):
                raise
            reason = " ".join(str(error).split())
            warnings.warn(f"{where}: pushed without its card, which the Hub refuses: {reason:.300}", stacklevel=3)
            return upload(ignore_patterns=[_CARD])


def _merge_card(api: HfApi, card: Path, name: str, repo_id: str, repo_type: str, revision: str | None) -> None:
    standing: Path | None = None
    with suppress(EntryNotFoundError, RevisionNotFoundError, RepositoryNotFoundError):
        standing = Path(api.hf_hub_download(repo_id, name, repo_type=repo_type, revision=revision))
    *subfolder, _ = Path(name).parts
    # The knowledge base within a plugin is opened by way of the plugin: its card names no repo.
    inner = KNOWLEDGE_BASE_FOLDER in subfolder
    publish_card(card, standing, None if inner else repo_id, "/".join(subfolder))
    if name == _CARD and standing is not None and card.read_bytes() == standing.read_bytes():
        card.unlink()  # the client would look into it again, and may not like what the Hub has long taken
