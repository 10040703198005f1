"""From a name to a folder: a folder stays what it is, a repo id becomes one snapshot at one commit."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from knowledge_plugin.config import LIBRARY_NAME, LIBRARY_VERSION
from knowledge_plugin.errors import ArtifactError, HubError
from knowledge_plugin.hub.folder import finish_save

# No code, no pickles: whatever else a repo holds is not even downloaded. huggingface_hub wants the very same
# patterns when it is asked for a snapshot offline.
_PATTERNS = ["config.json", "*.safetensors", "*.parquet", "README.md"]


def resolve_folder(
    name_or_path: str | Path,
    *,
    repo_type: str = "model",
    revision: str | None = None,
    subfolder: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """Return the folder of an artifact, downloading it if the name is a repo id.

    Args:
        name_or_path: A folder, or ``"user/name"`` on the Hub. A folder never touches the network.
        repo_type: ``"model"`` for plugins, ``"dataset"`` for knowledge bases.
        revision: Branch, tag or commit.
        subfolder: Folder within the repo that holds the artifact.
        token: Access token, or ``None`` for the one that is logged in.
        cache_dir: Cache of huggingface_hub.
        local_files_only: Take it from the cache or not at all.
        force_download: Download even if it is in the cache.

    Returns:
        A folder that exists.

    Raises:
        ArtifactError: A path that is no folder, and no repo id either.
        HubError: No such repo or revision, no access, no network, or nothing in the cache.
    """
    if not str(name_or_path).strip():  # pathlib would take it for the current folder
        raise ArtifactError("expected a folder or a Hub repo id like 'user/name', found an empty text.")
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        folder = _within(path, subfolder)
        finish_save(folder)
        return folder
    name = str(name_or_path)
    if path.exists() or path.is_absolute() or name.startswith(".") or name.count("/") > 1:
        found = "a file" if path.exists() else "nothing"
        raise ArtifactError(f"expected a folder or a Hub repo id like 'user/name', found {found} at {name}.")
    where = f"{name}@{revision}" if revision else name
    no_folder = f"there is no folder {path.absolute()}"
    try:
        root = snapshot_download(
            name,
            repo_type=repo_type,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
            allow_patterns=[p for pattern in _PATTERNS for p in (pattern, f"*/{pattern}")],
            library_name=LIBRARY_NAME,
            library_version=LIBRARY_VERSION,
        )
    except HFValidationError as error:
        raise ArtifactError(
            f"expected a folder or a Hub repo id like 'user/name', found {name!r:.200}; {no_folder}."
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(f"{where}: the repo is there, but it has no revision {revision!r}.") from error
    except GatedRepoError as error:
        raise HubError(f"{where} is gated: ask for access on its page, then type: hf auth login") from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"{where}: {no_folder}, and no {repo_type} repo of this name that you may see. Check the spelling; if the "
            "repo is private, type: hf auth login"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise HubError(
            f"{where}: {no_folder}; the repo of this name is not complete in the cache, and the Hub was not reached "
            "(offline, local_files_only, or no network). Check the spelling of the folder, or connect once."
        ) from error
    except (EntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise HubError(f"{where}: the Hub did not give it: {error}") from error
    return _within(Path(root), subfolder)


def _within(root: Path, subfolder: str | None) -> Path:
    if subfolder is None:
        return root
    folder = (root / subfolder).resolve()
    if not folder.is_relative_to(root.resolve()) or not folder.is_dir():
        raise ArtifactError(f"{root} has no folder {subfolder!r} inside.")
    return root / subfolder
