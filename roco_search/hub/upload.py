"""A trained model to the hub: its own files and nothing else that lies in the folder."""

from __future__ import annotations

import os
from pathlib import Path

from roco_search.errors import HubError
from roco_search.models.catalogue.installed import belongs_to_a_model
from roco_search.training.outcome.card import FACTS
from roco_search.training.outcome.log import CURVES


def push(directory: Path, repository: str) -> str:
    """Upload the model in a folder to ``org/name``, private if it is new, and return its address.

    Weights, configuration, tokenizer, card, settings and curves go; checkpoints, logs and data never do.

    Raises
    ------
    HubError
        If the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    files = sorted(path.name for path in directory.iterdir() if goes(path.name))
    # The variable is read now, not when the client's module was first imported.
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT", "").rstrip("/") or None)
    try:
        url = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=directory, allow_patterns=files, commit_message="Trained with roco train"
        )
    except HFValidationError:
        raise HubError(f"{repository!r} is no name of a repository; write it as org/name.") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        raise HubError(
            f"The hub did not take {repository} (HTTP {status}); the model is in {directory}. Log in with 'hf auth "
            "login' to an account that may write there, and push again."
        ) from None
    except Exception as error:  # the hub's client raises its HTTP library's errors as they are
        raise HubError(
            f"The hub could not be reached ({type(error).__name__}); the model is in {directory}. Push it where there "
            "is a network."
        ) from None
    return str(url)


def goes(name: str) -> bool:
    """Whether a file of a run's folder belongs to the model that is pushed."""
    return belongs_to_a_model(name) or name in (FACTS, CURVES)
