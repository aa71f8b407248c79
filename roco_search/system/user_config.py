"""The user's settings, such as the model of new libraries: a small JSON file in the user's config folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from roco_search.errors import InputError
from roco_search.system.files import write_errors, write_file
from roco_search.system.folders import user_folder


def settings_file() -> Path:
    """Return the path of the settings: ``ROCO_CONFIG``, or ``config.json`` in the user's config folder."""
    if configured := os.environ.get("ROCO_CONFIG"):
        return Path(configured).expanduser()
    return Path(user_folder("config")) / "config.json"


def read_settings() -> dict[str, Any]:
    """Return the settings, empty if there is no file. Raises `InputError` if the file is damaged."""
    file = settings_file()
    try:
        value = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"The settings in {file} cannot be read; correct that file or delete it.") from error
    if not isinstance(value, dict) or not isinstance(value.get("model", ""), str):
        raise InputError(f"The settings in {file} are not what roco writes; correct that file or delete it.")
    return value


def write_settings(settings: dict[str, Any]) -> None:
    """Write the settings, all of them at once. Raises `StorageFull` and `InputError`."""
    file = settings_file()
    with write_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, json.dumps(settings, indent=2) + "\n", mode=None)
