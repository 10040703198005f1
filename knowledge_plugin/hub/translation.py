"""What the Hub's client raises, in our words: which repo, why, and what to type next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from knowledge_plugin.errors import ArtifactError, HubError

# The client lets errors of its HTTP library through, and has changed that library more than once.
_HTTP_LIBRARIES = ("httpx2", "httpcore2", "httpx", "httpcore", "requests", "urllib3")
_LOGIN = "Type: hf auth login"


@contextmanager
def translated(where: str, *, repo_type: str = "model", beside: str = "") -> Iterator[None]:
    """Turn the client's errors into :class:`HubError`.

    Args:
        where: The repo, with its revision if one was asked for.
        repo_type: ``"model"`` or ``"dataset"``.
        beside: What else may be said of a name that leads nowhere.

    Raises:
        ArtifactError: The name is no repo id.
        HubError: No such repo or revision, no access, no network, someone else was faster, or the Hub failed.
    """
    also = f"{beside}; " if beside else ""
    try:
        yield
    except HFValidationError as error:
        raise ArtifactError(
            f"expected {'a folder or ' if beside else ''}a Hub repo id like 'user/name', found {where!r:.200}"
            f"{'; ' + beside if beside else ''}."
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(f"{where}: the repo is there, but it has no such branch, tag or commit.") from error
    except GatedRepoError as error:
        raise HubError(f"{where} is gated: ask for access on its page, then log in. {_LOGIN}") from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"{where}: {also}no {repo_type} repo of this name that you may see. Check the spelling; if the repo is "
            f"private, log in. {_LOGIN}"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise HubError(
            f"{where}: {also}the repo of this name is not complete in the cache, and the Hub was not reached (offline, "
            "local_files_only, or no network). Check the spelling, or connect once."
        ) from error
    except LocalTokenNotFoundError as error:
        raise HubError(f"{where}: the Hub wants to know who you are. {_LOGIN}") from error
    except HfHubHTTPError as error:
        raise HubError(f"{where}: {_reason(error)}") from error
    except Exception as error:
        of_the_client = type(error).__module__.split(".")[0] in _HTTP_LIBRARIES
        if not of_the_client and not isinstance(error, (EntryNotFoundError, OSError)):
            raise
        raise HubError(f"{where}: the Hub was not reached, or broke off: {error}. Try again.") from error


def _reason(error: HfHubHTTPError) -> str:
    status = getattr(error.response, "status_code", None)
    if status == 401:
        return f"the Hub did not accept the token. {_LOGIN}"
    if status == 403:
        return (
            "you may not do this here: the token cannot write, or the repo is another's. Log in with a token that may "
            f"write, or push to a name of your own, or with create_pr=True. {_LOGIN}"
        )
    if status == 412:
        return (
            "someone else pushed in the meantime; nothing of yours was written. Look at their change, and push again."
        )
    return f"the Hub answered with an error: {error}. Try again later."
