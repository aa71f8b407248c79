"""Names of models, and where on this disk they are. Nothing here opens a network connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from roco_search.errors import ModelNotFound

from .checkpoint import Checkpoint

DEFAULT = "roco-mini"
EMBEDDED = Path(__file__).parent / "roco_mini"


@dataclass(frozen=True, slots=True)
class Entry:
    """A published radiology encoder that can be loaded once it is on this disk."""

    repository: str
    about: str


# What is said here of a model is its publisher's word.
ENTRIES: Mapping[str, Entry] = {
    "clip-roco": Entry("spicy03/CLIP-ROCO-v1", "CLIP ViT-B/32 fine-tuned on ROCO"),
    "pubmedclip": Entry("flaviagiammarino/pubmed-clip-vit-base-patch32", "CLIP ViT-B/32 fine-tuned on ROCO for VQA"),
    "clip": Entry("openai/clip-vit-base-patch32", "OpenAI's CLIP ViT-B/32, general pictures"),
    "medsiglip": Entry("google/medsiglip-448", "SigLIP for medical images, 448 px, gated"),
}


def find(name_or_path: str | Path) -> Checkpoint:
    """Find a model: the embedded one, a folder, a catalogue name, or ``org/name`` in the local hub cache.

    Raises `ModelNotFound` with what there is, and `UnsupportedModel` where the folder cannot be loaded.
    """
    name = str(name_or_path)
    if name == DEFAULT:
        return Checkpoint.open(DEFAULT, EMBEDDED)
    path = Path(name).expanduser()
    if path.is_dir():
        return Checkpoint.open(str(path.resolve()), path.resolve())
    repository = ENTRIES[name].repository if name in ENTRIES else name
    if directory := in_hub_cache(repository):
        return Checkpoint.open(name, directory)
    if name in ENTRIES:
        raise ModelNotFound(
            f"{name} ({repository}) is not on this disk. On a machine with a network, run "
            f"'hf download {repository}', or copy its folder here and give the folder as the model."
        )
    raise ModelNotFound(
        f"There is no model {name!r}: not a folder, not a name of the catalogue ({', '.join((DEFAULT, *ENTRIES))}), "
        "and not in the local hub cache."
    )


def in_hub_cache(repository: str) -> Path | None:
    """Return the newest snapshot of ``org/name`` in the Hugging Face cache of this disk, or None."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(repository, "config.json")
    except HFValidationError:  # not of the form org/name
        return None
    return Path(config).parent if isinstance(config, str) else None
