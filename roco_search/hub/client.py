"""The client of the Hugging Face Hub, or of a mirror of it, and what it refuses, in one sentence each.

`huggingface_hub` is imported in this room alone, and only when it is needed. It brings the token, the proxies, the
offline switch, and the cache of models on this disk that it shares with other programs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from roco_search.errors import HubError, ModelNotFound, RocoError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["model", "dataset", "space"]

_FOLDERS = {"model": "", "dataset": "datasets/", "space": "spaces/"}
# As the hub spells a repository: two parts that neither begin nor end with a dot or a dash.
_REPOSITORY = re.compile(r"(?!.*(--|\.\.|\.git$))\w([\w.-]{0,93}\w)?/\w([\w.-]{0,93}\w)?", re.ASCII)
_LONGEST = 96
_LOG_IN = "set HF_TOKEN to a token that may {do}, or run 'hf auth login'"


@dataclass(frozen=True, slots=True)
class Request:
    """What the hub is asked for.

    Attributes
    ----------
    repository
        ``org/name``.
    endpoint
        The address of the hub.
    kind
        What the repository holds.
    uploads
        Whether something is sent to it, not fetched.
    otherwise
        A sentence with what can be done where the hub cannot be reached.
    """

    repository: str
    endpoint: str
    kind: Kind = "model"
    uploads: bool = False
    otherwise: str = ""

    @property
    def page(self) -> str:
        """The address of the repository."""
        return f"{self.endpoint}/{_FOLDERS[self.kind]}{self.repository}"


def connect(endpoint: str | None = None) -> HfApi:
    """Return a client of a hub: of ``HF_ENDPOINT`` if none is given, of ``https://huggingface.co`` without either."""
    from huggingface_hub import HfApi

    # The variable is read now, not when the client's module was first imported.
    return HfApi(endpoint=(endpoint or os.environ.get("HF_ENDPOINT", "")).rstrip("/") or None, library_name="roco")


def is_repository(text: str) -> bool:
    """Whether a repository of the hub may be called so: ``org/name``."""
    return len(text) <= _LONGEST and _REPOSITORY.fullmatch(text) is not None


def transport_error() -> type[Exception]:
    """Return the base of what the hub's HTTP client raises: of ``httpx`` in its versions 1, of ``httpx2`` in 2."""
    from huggingface_hub import errors

    return errors.HTTPError


@contextmanager
def refusals(request: Request) -> Iterator[None]:
    """Turn what the hub or the network refuses into one sentence with the remedy.

    Raises
    ------
    ModelNotFound
        If a model is asked for, and there is none of that name or revision.
    HubError
        For every other refusal.
    """
    try:
        yield
    except Exception as error:
        if (found := refusal(error, request)) is None:
            raise
        raise found from None


def refusal(error: Exception, request: Request) -> RocoError | None:
    """Return the refusal that stands for `error`, or None if neither the hub nor the network raised it."""
    from huggingface_hub import errors

    repository, endpoint = request.repository, request.endpoint
    missing = ModelNotFound if request.kind == "model" and not request.uploads else HubError
    match error:
        case errors.OfflineModeIsEnabled():
            return HubError("HF_HUB_OFFLINE forbids the network; unset it for this command.")
        case errors.HFValidationError():
            return missing(f"{repository!r} is not a name that the hub can have; write org/name.")
        case errors.LocalTokenNotFoundError():
            return HubError(f"The hub accepts uploads only with a token; {_LOG_IN.format(do='write')}.")
        case errors.HfHubHTTPError() if request.uploads:
            return _refused(error, request, "write")
        case errors.GatedRepoError():
            return HubError(
                f"{repository} is gated: accept its terms on {request.page}, make a token with read access on "
                f"{endpoint}/settings/tokens, then set HF_TOKEN or run 'hf auth login', and run this command again."
            )
        case errors.RevisionNotFoundError():
            return missing(f"{repository} has no such revision; see {request.page}/commits/main for those it has.")
        case errors.RepositoryNotFoundError():
            return missing(
                f"The hub has no {request.kind} {repository}, or it is private; check the name, or set HF_TOKEN to a "
                "token that may read it."
            )
        case errors.EntryNotFoundError():
            return HubError(f"{repository} lacks a file that the hub lists; try again later.")
        case errors.HfHubHTTPError():
            return _refused(error, request, "read")
        case json.JSONDecodeError():
            return HubError(
                f"What answers at {endpoint} is not a model hub; check HF_ENDPOINT, the proxy, or whether the network "
                "requires you to log in first."
            )
        case ConnectionError() | TimeoutError():
            return unreachable(error, request)
        case _ if isinstance(error, transport_error()):
            return unreachable(error, request)
    return None


def unreachable(error: Exception, request: Request) -> HubError:
    """Return the refusal for a hub that does not answer."""
    otherwise = f" {request.otherwise}" if request.otherwise else ""
    return HubError(
        f"The hub at {request.endpoint} cannot be reached ({type(error).__name__}). Check the network and HTTPS_PROXY, "
        f"and run the same command again.{otherwise}"
    )


def _refused(error: Exception, request: Request, do: str) -> HubError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    doing = f"{request.repository} was uploaded" if request.uploads else f"asked for {request.repository}"
    remedy = _LOG_IN.format(do=do) if status in {401, 403} or (request.uploads and status == 404) else "try again later"
    return HubError(f"The hub answered {status or 'nothing'} when {doing}; {remedy}.")


def cached_snapshot(repository: str) -> Path | None:
    """Return the newest snapshot of ``org/name`` in the Hugging Face cache of this disk, or None."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(repository, "config.json")
    except HFValidationError:  # not of the form org/name
        return None
    return Path(config).parent if isinstance(config, str) else None


def cached_models() -> Iterator[str]:
    """Yield the repository of every model in the Hugging Face cache of this disk."""
    from huggingface_hub import constants

    for folder in Path(constants.HF_HUB_CACHE).glob("models--*--*"):
        yield folder.name.removeprefix("models--").replace("--", "/", 1)
