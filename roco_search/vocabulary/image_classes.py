"""What an image can be: its modality, its body part, its plane. Guesses, `classify` and `eval` read this one table.

A class has prompts, the names under which data sets know it, and the DICOM terms that it stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from roco_search.vocabulary.prompt_sets import DATA, read_yaml


@dataclass(frozen=True, slots=True)
class ImageClass:
    """One thing that an image can be.

    Attributes
    ----------
    name
        What a person calls it, such as "MRI".
    prompts
        Texts that describe such an image; the class is the mean of their embeddings.
    aliases
        Other names under which data sets know it, such as "MR".
    terms
        The DICOM terms that it stands for. The first is what a guess shows; a guess cannot be told from the others.
        Without any, the class is never guessed.
    """

    name: str
    prompts: tuple[str, ...]
    aliases: tuple[str, ...]
    terms: tuple[str, ...]


@cache
def attributes() -> tuple[str, ...]:
    """Return what there are classes of: "body_part", "modality" and "plane"."""
    return tuple(sorted(file.name.removesuffix(".yaml") for file in (files(DATA) / "classes").iterdir()))


@cache
def image_classes(attribute: str) -> tuple[ImageClass, ...]:
    """Return the classes of one of `attributes`, in the order of their file."""
    terms = read_yaml("terms.yaml").get(attribute, {})
    return tuple(
        ImageClass(name, tuple(entry["positive"]), tuple(entry.get("aliases", ())), tuple(terms.get(name, ())))
        for name, entry in read_yaml(f"classes/{attribute}.yaml").items()
    )
