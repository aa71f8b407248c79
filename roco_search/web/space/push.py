"""A Space goes to the hub: the one command of the demo that uses the network, and only when it is asked to."""

from __future__ import annotations

import os
from pathlib import Path

from roco_search.errors import HubError, InputError
from roco_search.hub.download import transport_error
from roco_search.models.catalogue import installed as place
from roco_search.web.space.export import is_space

REVISION = "main"


def push_space(folder: Path, repository: str, *, endpoint: str | None = None) -> str:
    """Upload an exported Space and return the address of its page.

    A new Space is private; one that is there already stays as it is, and gets what has changed.

    Parameters
    ----------
    folder
        As `export_space` wrote it.
    repository
        ``ORG/NAME`` on the hub.
    endpoint
        Of the hub; ``HF_ENDPOINT`` without it, ``https://huggingface.co`` without either.

    Raises
    ------
    InputError
        If the folder holds no Space, or that is no name.
    HubError
        If the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi, errors

    if not is_space(folder):
        raise InputError(f"{folder} holds no Space; write one with `roco demo --export-space {folder}`.")
    if repository.count("/") != 1 or not place.is_name(repository):
        raise InputError(f"{repository!r} is not a name that a Space can have; write ORG/NAME.")
    api = HfApi(endpoint=(endpoint or os.environ.get("HF_ENDPOINT", "")).rstrip("/") or None, library_name="roco")
    token = "set HF_TOKEN to a token that may write, or run 'hf auth login'"
    try:
        api.create_repo(repository, repo_type="space", space_sdk="gradio", private=True, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            repo_type="space",
            folder_path=folder,
            revision=REVISION,
            ignore_patterns=[".git", ".git/*", "**/__pycache__/*"],
            # A renewed Space must not keep the wheel of an older roco.
            delete_patterns=["*.whl", "model/*", "examples/*"],
            commit_message="roco demo --export-space",
        )
    except errors.OfflineModeIsEnabled:
        raise HubError("HF_HUB_OFFLINE forbids the network; unset it for this command.") from None
    except errors.LocalTokenNotFoundError:
        raise HubError(f"The hub takes uploads only from people it knows; {token}.") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        remedy = token if status in {401, 403} else "try again later"
        raise HubError(f"The hub answered {status} when {repository} was uploaded; {remedy}.") from None
    except (transport_error(), OSError, RuntimeError) as error:  # the last two are those of its Xet client
        raise HubError(
            f"The hub at {api.endpoint} cannot be reached ({type(error).__name__}); check the network and HTTPS_PROXY, "
            "and run the same command again."
        ) from None
    return f"{api.endpoint}/spaces/{repository}"
