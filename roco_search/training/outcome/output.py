"""The model that a run leaves: a standard transformers directory, each file whole or not there; and its upload."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from roco_search.hub.upload import upload
from roco_search.models.catalogue.installed import belongs_to_a_model
from roco_search.models.checkpoint import PREPROCESSOR_FILES, TOKENIZER_FILES
from roco_search.models.torch_encoder import quiet
from roco_search.system.files import copy_file, temporary_folder, write_errors
from roco_search.training.outcome.card import FACTS
from roco_search.training.outcome.log import CURVES

# What else belongs to a tokenizer or a processor in one family or another.
_OTHER_FILES = ("added_tokens.json", "NOTICE")
_WEIGHTS = "model.safetensors"


def save_model(model: nn.Module, base: Path, output: Path) -> None:
    """Write weights, configuration, tokenizer and preprocessor into ``output``.

    Weights are float32 in safetensors; what a model that was there before had is replaced file by file, the weights
    last. Raises `StorageFull` and `InputError`.
    """
    with write_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        with temporary_folder(output / "model") as fresh:
            _save_pretrained(model, fresh)
            for name in (*TOKENIZER_FILES, *PREPROCESSOR_FILES, *_OTHER_FILES):
                if (base / name).is_file():
                    shutil.copyfile(base / name, fresh / name)
            names = sorted((path.name for path in fresh.iterdir()), key=lambda name: name == _WEIGHTS)
            for name in names:
                copy_file(fresh / name, output / name)


def _save_pretrained(model: Any, directory: Path) -> None:
    try:
        with quiet():
            model.save_pretrained(directory, max_shard_size="100GB")
    except SafetensorError as error:  # it gives the operating system's reason in words only
        if number := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        raise
    config = directory / "config.json"
    config.write_text(json.dumps(_without_places(json.loads(config.read_text("utf-8"))), indent=2) + "\n", "utf-8")


def _without_places(value: Any) -> Any:
    """The folder that a model was loaded from is private."""
    if isinstance(value, dict):
        return {key: _without_places(entry) for key, entry in value.items() if key != "_name_or_path"}
    return value


def push(directory: Path, repository: str) -> str:
    """Upload the model in a run's folder to ``org/name``, private if it is new, and return its address.

    Weights, configuration, tokenizer, card, settings and curves are uploaded; checkpoints, logs and data never are.

    Raises
    ------
    InputError
        If `repository` is not a name that the hub can have.
    HubError
        If the hub cannot be reached, or refuses.
    """
    files = [path.name for path in directory.iterdir() if belongs_to_a_model(path.name) or path.name in (FACTS, CURVES)]
    return upload(directory, repository, "model", "Trained with roco train", only=sorted(files))
