"""The folder of the models that roco has stored on this disk; a model is added completely or not at all.

A model is made in a staging folder and then renamed into place. Staging folders begin with a dot, which no name of a
model does, so that what was left behind by a crash is never found as a model.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from roco_search.errors import InputError, RocoError
from roco_search.models.checkpoint import PREPROCESSOR_FILES, TOKENIZER_FILES
from roco_search.system.files import locked, replace_folder, sha256, write_errors
from roco_search.system.folders import user_folder

MANIFEST = "roco-model.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
_STAGING = ".staging"
# As the hub spells them; "--" is kept out, because it stands for the slash in the name of the folder.
_NAME = re.compile(r"(?!.*--)[A-Za-z0-9_][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_GRAPHS = frozenset({".onnx", ".data"})  # compiled towers beside the weights
_PAPERS = re.compile(r"(README|LICENSE|LICENCE|NOTICE)(\.md|\.txt)?", re.IGNORECASE)
_SMALL_FILES = frozenset({"config.json", "added_tokens.json", *PREPROCESSOR_FILES, *TOKENIZER_FILES})


@dataclass(frozen=True, slots=True)
class FileFact:
    """What a file of a model has to be: its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Where a model comes from and what it is made of; stored beside its files as ``roco-model.json``.

    ``revision`` is the commit of the repository, ``pulled`` a date in UTC, ``fingerprint`` that of `Checkpoint`.
    """

    name: str
    fingerprint: str
    repository: str | None = None
    revision: str | None = None
    licence: str | None = None
    pulled: str | None = None
    files: Mapping[str, FileFact] = field(default_factory=dict)

    def to_json(self) -> str:
        """Write it as JSON."""
        return json.dumps({"format": 1, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read what `to_json` wrote. Raises `ValueError` for anything else."""
        value = json.loads(text)
        if not isinstance(value, dict) or value.pop("format", None) != 1 or not isinstance(value.get("files"), dict):
            raise ValueError("not a manifest of format 1")
        try:
            facts = value.pop("files").items()
            files = {str(name): FileFact(int(fact["size"]), str(fact["sha256"])) for name, fact in facts}
            manifest = cls(**value, files=files)
        except (TypeError, KeyError) as error:
            raise ValueError("not a manifest") from error
        texts = (manifest.name, manifest.fingerprint)
        optional = (manifest.repository, manifest.revision, manifest.licence, manifest.pulled)
        if not all(isinstance(text, str) for text in texts) or not all(isinstance(t, str | None) for t in optional):
            raise ValueError("not a manifest")
        return manifest


def models_directory() -> Path:
    """Return where pulled and imported models are kept: ``ROCO_MODELS``, or ``models`` in the user's data folder."""
    if configured := os.environ.get("ROCO_MODELS"):
        return Path(configured).expanduser()
    return Path(user_folder("data")) / "models"


def is_name(text: str) -> bool:
    """Whether a model may be called so: ``name`` or ``org/name``, of letters, digits, dots, dashes, underscores."""
    return _NAME.fullmatch(text) is not None


def belongs_to_a_model(file: str) -> bool:
    """Whether a file of this name is part of a model: safetensors, JSON, vocabularies, the card and the licence.

    An allow-list, so that neither a pickle nor code is ever taken along.
    """
    weights = file in {WEIGHTS, WEIGHTS_INDEX} or _SHARD.fullmatch(file)
    return bool(weights or file in _SMALL_FILES or _PAPERS.fullmatch(file))


def is_paper(file: str) -> bool:
    """Whether this is the card or the licence of a model."""
    return _PAPERS.fullmatch(file) is not None


def is_shard(file: str) -> bool:
    """Whether this is one of several files of weights that an index ties together."""
    return _SHARD.fullmatch(file) is not None


def folder_of(name: str) -> Path:
    """Return the folder of the model of this name, whether it exists or not. ``name`` must satisfy `is_name`."""
    return models_directory() / name.replace("/", "--")


def installed(name: str) -> Path | None:
    """Return the folder of a model that was pulled or imported, or None."""
    if not is_name(name):
        return None
    folder = folder_of(name)
    return folder if (folder / "config.json").is_file() else None


def installed_names() -> list[str]:
    """Return the names of every model that was pulled or imported, sorted."""
    try:
        folders = [entry.name for entry in models_directory().iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for folder in folders if installed(name := folder.replace("--", "/")))


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a model's folder, or None where it has none that can be read."""
    try:
        return Manifest.from_json((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None


def is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether every file is what the manifest says, by its SHA-256."""
    files = {folder / name: fact for name, fact in manifest.files.items()}
    return bool(files) and all(
        file.is_file() and file.stat().st_size == fact.size and sha256(file) == fact.sha256
        for file, fact in files.items()
    )


@contextmanager
def staging(name: str, purpose: str) -> Iterator[Path]:
    """Give a folder to make the model ``name`` in, and the sole right to do so.

    The folder is the same for the same ``purpose``, so that work that was interrupted can be taken up again.

    Raises
    ------
    Busy
        If another process is at work on this model.
    StorageFull, InputError
        If the disk is full or may not be written to.
    """
    room = models_directory() / _STAGING
    folder = room / f"{name.replace('/', '--')}@{purpose}"
    with write_errors(models_directory()):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(room / f"{name.replace('/', '--')}.lock", f"The model {name} is being changed"):
            yield folder


@contextmanager
def speaking_of(subject: object, staged: Path) -> Iterator[None]:
    """Let an error name what the user knows instead of the staging folder, which will no longer exist."""
    try:
        yield
    except RocoError as error:
        raise type(error)(str(error).replace(str(staged), str(subject))) from None


def install(staged: Path, name: str) -> Path:
    """Put a finished folder into the place of the model ``name``, all of it at once, and return its new path."""
    target = folder_of(name)
    with write_errors(models_directory()):
        replace_folder(staged, target)
    return target


def uninstall(name: str) -> int:
    """Remove a model and its unfinished downloads; return the number of bytes freed."""
    with staging(name, "removed") as gone:
        freed = clear_staging(name, but=gone)
        folder = folder_of(name)
        if folder.exists():
            freed += size_of(folder)
            folder.replace(gone)  # at once, so that no half of a model is ever found
        _discard(gone)
    return freed


def has_staging(name: str) -> bool:
    """Whether there is an unfinished download of this model."""
    return is_name(name) and any(_staged(name))


def clear_staging(name: str, *, but: Path | None = None) -> int:
    """Delete what is left of unfinished downloads of a model; return the bytes that this frees."""
    freed = 0
    for folder in _staged(name):
        if folder != but:
            freed += size_of(folder)
            _discard(folder)
    return freed


def size_of(folder: Path) -> int:
    """Return the bytes of the files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def model_size(folder: Path) -> int:
    """Return the bytes of the files that are the model in a folder; what a training left beside it does not count."""
    return sum(
        file.stat().st_size
        for file in folder.iterdir()
        if file.is_file() and (belongs_to_a_model(file.name) or file.suffix in _GRAPHS)
    )


def _staged(name: str) -> Iterator[Path]:
    return (models_directory() / _STAGING).glob(f"{name.replace('/', '--')}@*")


def _discard(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def check_name(name: str) -> None:
    """Raise `InputError` for a name that no model can have."""
    if not is_name(name):
        raise InputError(
            f"{name!r} cannot be the name of a model; use letters, digits, dots, dashes and underscores, with at "
            "most one slash, as in org/name."
        )
