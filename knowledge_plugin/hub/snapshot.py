"""From a name to a folder: a folder stays what it is, a repo id becomes one snapshot at one commit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from huggingface_hub import cached_assets_path, snapshot_download

from knowledge_plugin.config import CONFIG_NAME, KNOWLEDGE_BASE_FOLDER, LIBRARY_NAME, LIBRARY_VERSION, FileConfig
from knowledge_plugin.errors import ArtifactError
from knowledge_plugin.hub.folder import check_sums, finish_save
from knowledge_plugin.hub.translation import translated

# No code, no pickles: whatever else a repo holds is not even downloaded. huggingface_hub wants the very same
# patterns when it is asked for a snapshot offline.
_PATTERNS = ["config.json", "evaluation.json", "*.safetensors", "*.parquet", "README.md"]


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
    only: Sequence[str] | None = None,
    leave_out: Sequence[str] = (),
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
        only: Patterns of the files to download, ``None`` for the whole artifact.
        leave_out: Patterns of files not to download.

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
    beside = f"there is no folder {path.absolute()}"
    with translated(f"{name}@{revision}" if revision else name, repo_type=repo_type, beside=beside):
        root = snapshot_download(
            name,
            repo_type=repo_type,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
            allow_patterns=_wanted(subfolder) if only is None else list(only),
            ignore_patterns=list(leave_out) or None,
            library_name=LIBRARY_NAME,
            library_version=LIBRARY_VERSION,
        )
    return _within(Path(root), subfolder)


def _wanted(subfolder: str | None) -> list[str]:
    """Return the patterns of one artifact; of a repo that holds several, the configs of all tell which there are."""
    prefix = f"{subfolder.strip('/')}/" if subfolder else ""
    inner = [f"{prefix}{folder}{pattern}" for folder in ("", f"{KNOWLEDGE_BASE_FOLDER}/") for pattern in _PATTERNS]
    return inner if subfolder else [*inner, f"*/{CONFIG_NAME}"]


def _within(root: Path, subfolder: str | None) -> Path:
    if subfolder is None:
        return root
    folder = (root / subfolder).resolve()
    if not folder.is_relative_to(root.resolve()) or not folder.is_dir():
        raise ArtifactError(f"{root} has no folder {subfolder!r} inside.")
    return root / subfolder


def commit_of(folder: Path) -> str | None:
    """Return the commit that a folder of huggingface_hub's cache is a snapshot of, ``None`` for any other folder."""
    name = folder.name
    is_commit = len(name) == 40 and set(name) <= set("0123456789abcdef")
    return name if is_commit and folder.parent.name == "snapshots" else None


def check_sums_once(folder: Path, files: Mapping[str, FileConfig]) -> None:
    """Check the sums of a download, and remember on this machine that they were right.

    Raises:
        ArtifactError: A file is not what its config declares.
    """
    content = f"{folder.resolve()} {sorted((name, file.sha256) for name, file in files.items())}"
    try:
        seen = cached_assets_path(LIBRARY_NAME, namespace="verified") / hashlib.sha256(content.encode()).hexdigest()
    except (OSError, ValueError):  # a cache that cannot be written costs time, not safety
        return check_sums(folder, files)
    if not seen.exists():
        check_sums(folder, files)
        with suppress(OSError):
            seen.touch()
