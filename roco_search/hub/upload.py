"""A folder becomes a repository of the hub, private if it is new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from roco_search.errors import InputError
from roco_search.hub.client import Kind, Request, connect, is_repository, refusal, unreachable

BRANCH = "main"


def upload(
    folder: Path,
    repository: str,
    kind: Kind,
    message: str,
    *,
    only: Sequence[str] | None = None,
    ignored: Sequence[str] = (),
    replaced: Sequence[str] = (),
    endpoint: str | None = None,
) -> str:
    """Upload a folder in one commit, and return the address of its page.

    A repository that exists keeps its visibility, and those of its files that are neither uploaded nor replaced.

    Parameters
    ----------
    folder
        What to upload.
    repository
        ``org/name``.
    kind
        The kind of the repository; a Space is one of Gradio.
    message
        The message of the commit.
    only, ignored
        Patterns of the files to upload, all without `only`, and of those among them to leave out.
    replaced
        Patterns of files to delete there where `folder` has none of that name.
    endpoint
        See `connect`.

    Raises
    ------
    InputError
        If `repository` is not a name that the hub can have.
    HubError
        If the hub refuses, or cannot be reached.
    """
    if not is_repository(repository):
        raise InputError(f"{repository!r} is not a name that the hub can have; write it as ORG/NAME.")
    api = connect(endpoint)
    request = Request(repository, api.endpoint, kind, uploads=True, otherwise=f"Everything is in {folder}.")
    try:
        sdk = "gradio" if kind == "space" else None
        api.create_repo(repository, repo_type=kind, space_sdk=sdk, private=True, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            repo_type=kind,
            folder_path=folder,
            revision=BRANCH,
            allow_patterns=list(only) if only is not None else None,
            ignore_patterns=list(ignored) or None,
            delete_patterns=list(replaced) or None,
            commit_message=message,
        )
    except Exception as error:
        found = refusal(error, request)
        if found is None and isinstance(error, OSError | RuntimeError):  # its Xet client raises these
            found = unreachable(error, request)
        if found is None:
            raise
        raise found from None
    return request.page
