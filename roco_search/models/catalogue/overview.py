"""What is known of models without running them: which exist, and what a model's own files say about it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roco_search.errors import ModelError
from roco_search.hub.client import cached_models
from roco_search.models.catalogue import installed, registry
from roco_search.models.catalogue.registry import Retrieval
from roco_search.models.checkpoint import Checkpoint, read_header, read_json, refuse_damage
from roco_search.models.families import text_length

Where = Literal["package", "models", "hub cache"]
Word = Literal["measured here", "publisher", "its files"]
_FLOATING = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of the catalogue or of this disk. What is not known is None.

    ``on_disk`` is where it is; None if it is not on this disk. ``bytes`` counts its files, or the download where it is
    not on this disk. ``word`` is the source of the facts, ``text_length`` counts tokens, ``layout`` is how it is
    published, a ``baseline`` was made for everyday pictures, and what has to be brought ``by_hand`` cannot be pulled.
    """

    name: str
    on_disk: Where | None
    default: bool
    repository: str | None
    licence: str | None
    gated: bool
    bytes: int | None
    image_size: int | None
    dim: int | None
    good_at: str | None
    word: Word
    text_length: int | None = None
    layout: str | None = None
    baseline: bool = False
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What the files of a model say. ``bytes`` and ``parameters`` are counts, ``image_size`` is in pixels."""

    name: str
    directory: Path
    on_disk: Where | Literal["folder"]
    default: bool
    family: str
    dim: int
    image_size: int
    parameters: int
    precision: str
    logit_scale: float
    logit_bias: float | None
    fingerprint: str
    bytes: int
    licence: str | None
    repository: str | None
    revision: str | None
    card: Path | None
    text_length: int = 0
    retrieval: tuple[Retrieval, ...] = ()


def list_models() -> list[Listed]:
    """Return the catalogue, then the other models on this disk by name. Nothing is loaded."""
    default = registry.default()
    catalogue = list(registry.entries())
    others = sorted({*installed.installed_names(), *map(registry.canonical, cached_models())} - set(catalogue))
    return [listed for name in (*catalogue, *others) if (listed := _listed(name, registry.canonical(default)))]


def describe(name_or_path: str | Path) -> Facts:
    """Read the facts of a model that is on this disk from its own files.

    Raises
    ------
    ModelNotFound, UnsupportedModel
    """
    checkpoint = registry.find(name_or_path)
    repository, revision = origin_of(checkpoint)
    entry = registry.entries().get(checkpoint.name)
    tensors = [tensor for file in checkpoint.weight_files for tensor in read_header(file).values()]
    weights = [tensor for tensor in tensors if tensor.dtype in _FLOATING]  # positions and the like are no parameters
    card = checkpoint.directory / "README.md"
    return Facts(
        name=checkpoint.name,
        directory=checkpoint.directory,
        on_disk=_where(checkpoint) or "folder",
        default=checkpoint.name == registry.canonical(registry.default()),
        family=checkpoint.family,
        dim=checkpoint.dim,
        image_size=checkpoint.image_size,
        parameters=sum(math.prod(tensor.shape) for tensor in weights),
        precision=", ".join(sorted({tensor.dtype for tensor in weights})),
        logit_scale=checkpoint.logit_scale,
        logit_bias=checkpoint.logit_bias,
        fingerprint=checkpoint.fingerprint,
        bytes=installed.model_size(checkpoint.directory),
        licence=licence_of(checkpoint),
        repository=repository,
        revision=revision,
        card=card if card.is_file() else None,
        text_length=_text_length(checkpoint),
        retrieval=entry.retrieval if entry else (),
    )


def _text_length(checkpoint: Checkpoint) -> int:
    """Return the number of tokens of the longest text: the tower's positions, or its tokenizer's limit."""
    file = checkpoint.directory / "tokenizer_config.json"
    limit = read_json(file).get("model_max_length") if file.is_file() else None
    with refuse_damage(checkpoint.name, "the length of its texts"):
        length = text_length(checkpoint.config)
        return min(length, int(limit)) if isinstance(limit, int | float) else length


def origin_of(checkpoint: Checkpoint) -> tuple[str | None, str | None]:
    """Return the repository and the commit that a model came from, each None where nothing says it."""
    if manifest := installed.read_manifest(checkpoint.directory):
        return manifest.repository, manifest.revision
    if _where(checkpoint) == "hub cache":  # models--org--name/snapshots/commit
        folder = checkpoint.directory.parent.parent.name
        return folder.removeprefix("models--").replace("--", "/", 1), checkpoint.directory.name
    entry = registry.entries().get(checkpoint.name)
    return entry.repository if entry else None, None


def licence_of(checkpoint: Checkpoint) -> str | None:
    """Return the licence that a model's manifest, its card or the catalogue states, in this order."""
    manifest = installed.read_manifest(checkpoint.directory)
    if manifest and manifest.licence:
        return manifest.licence
    entry = registry.entries().get(checkpoint.name)
    return _licence_of_card(checkpoint.directory / "README.md") or (entry.licence if entry else None)


def _licence_of_card(card: Path) -> str | None:
    """Read the licence from the YAML at the head of a model card, as the hub defines it."""
    try:
        text = card.read_text("utf-8", "replace")
    except OSError:
        return None
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    fields = dict(re.findall(r"^(license|license_name): *['\"]?([^'\"\n]+)", head[1], re.MULTILINE)) if head else {}
    licence: str | None = fields.get("license")
    return fields.get("license_name", licence) if licence == "other" else licence


def _listed(name: str, default: str) -> Listed | None:
    entry = registry.entries().get(name)
    try:
        checkpoint = registry.find(name)
    except ModelError:
        # Of the catalogue and not here, or a damaged one; what is no model for roco at all is not listed.
        if not entry:
            return None
        return Listed(
            name, None, name == default, entry.repository, entry.licence, entry.gated, entry.download_bytes,
            entry.image_size, entry.dim, entry.good_at, "publisher", entry.text_length, entry.layout, entry.baseline,
            bool(entry.obtain),
        )  # fmt: skip
    return Listed(
        name=name,
        on_disk=_where(checkpoint),
        default=name == default,
        repository=origin_of(checkpoint)[0],
        licence=licence_of(checkpoint),
        gated=bool(entry and entry.gated),
        bytes=installed.model_size(checkpoint.directory),
        image_size=checkpoint.image_size,
        dim=checkpoint.dim,
        good_at=entry.good_at if entry else None,
        word="measured here" if name == registry.DEFAULT else "publisher" if entry else "its files",
        text_length=_text_length(checkpoint),
        layout="transformers",
        baseline=bool(entry and entry.baseline),
    )


def _where(checkpoint: Checkpoint) -> Where | None:
    if checkpoint.directory == registry.EMBEDDED:
        return "package"
    if checkpoint.directory.is_relative_to(installed.models_directory()):
        return "models"
    return "hub cache" if checkpoint.directory.parent.name == "snapshots" else None
