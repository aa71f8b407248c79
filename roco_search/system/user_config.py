"""What a person has set once and for all: the model of new libraries. A small JSON file in the user's config folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from roco_search.errors import InputError
from roco_search.models.catalogue.installed import writing
from roco_search.system.folders import user_folder


def settings_file() -> Path:
    """Return where the settings lie: ``ROCO_CONFIG``, or ``config.json`` in the user's config folder."""
    if configured := os.environ.get("ROCO_CONFIG"):
        return Path(configured).expanduser()
    return Path(user_folder("config")) / "config.json"


def read_settings() -> dict[str, Any]:
    """Return the settings, none where there is no file. Raises `InputError` where the file is damaged."""
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
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        fresh.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
        fresh.replace(file)
