"""The words of radiology as data, and what reads them; ``README.md`` beside this file describes the data.

`image_classes` reads what an image can be (modality, body part, plane), `prompt_sets` how its findings are spoken of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent
GENERAL = "general"


@dataclass(frozen=True, slots=True)
class Templates:
    """Templates for a label and for its opposite; ``{}`` stands for the label."""

    present: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PromptSet:
    """How one kind of image is spoken of.

    Attributes
    ----------
    name, title
        What the program and what a person calls it.
    finding, normal
        Templates for a label that names something seen, and for one that says that nothing is wrong.
    modalities, body_parts
        The DICOM terms of the images that it is for; without any, all.
    """

    name: str
    title: str
    finding: Templates
    normal: Templates
    modalities: frozenset[str]
    body_parts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Words:
    """The words by which a label is understood, as ``words.yaml`` describes them."""

    normal: frozenset[str]
    abnormal: frozenset[str]
    negations: frozenset[str]
    negations_behind: frozenset[str]
    neutral: frozenset[str]
    subjects: frozenset[str]


@cache
def prompt_sets() -> Mapping[str, PromptSet]:
    """Return every prompt set by its name."""
    names = sorted(file.name.removesuffix(".yaml") for file in (DATA / "prompts").iterdir())
    return {name: _prompt_set(name, read_yaml(f"prompts/{name}.yaml")) for name in names}


@cache
def subject_prompts() -> Templates:
    """Return the templates for labels that name a modality or a part of the body."""
    return _templates(read_yaml(f"prompts/{GENERAL}.yaml")["subject"])


@cache
def words() -> Words:
    """Return the words by which labels are understood."""
    return Words(**{key: frozenset(str(word) for word in value) for key, value in read_yaml("words.yaml").items()})


@cache
def finding_lists() -> Mapping[str, tuple[str, ...]]:
    """Return frequent findings by the region or examination that shows them, "normal" first."""
    return {region: tuple(names) for region, names in read_yaml("findings.yaml").items()}


def read_yaml(name: str) -> Any:
    """Return one of the files of this folder. Every scalar stays a text: YAML 1.1 would read "no" as False."""
    import yaml

    # libyaml's loader, where PyYAML was built with it, is ten times faster.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    return yaml.load((DATA / name).read_text("utf-8"), Loader=loader)


def _prompt_set(name: str, content: Mapping[str, Any]) -> PromptSet:
    return PromptSet(
        name=name,
        title=content["title"],
        finding=_templates(content["finding"]),
        normal=_templates(content["normal"]),
        modalities=frozenset(content.get("modalities", ())),
        body_parts=frozenset(content.get("body_parts", ())),
    )


def _templates(content: Mapping[str, Any]) -> Templates:
    return Templates(tuple(content["present"]), tuple(content["absent"]))


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
        The DICOM terms that it represents. A guess shows the first of them, and cannot distinguish it from the others.
        Without any, the class is never guessed.
    """

    name: str
    prompts: tuple[str, ...]
    aliases: tuple[str, ...]
    terms: tuple[str, ...]


@cache
def attributes() -> tuple[str, ...]:
    """Return what there are classes of: "body_part", "modality" and "plane"."""
    return tuple(sorted(file.name.removesuffix(".yaml") for file in (DATA / "classes").iterdir()))


@cache
def image_classes(attribute: str) -> tuple[ImageClass, ...]:
    """Return the classes of one of `attributes`, in the order of their file."""
    terms = read_yaml("terms.yaml").get(attribute, {})
    return tuple(
        ImageClass(name, tuple(entry["positive"]), tuple(entry.get("aliases", ())), tuple(terms.get(name, ())))
        for name, entry in read_yaml(f"classes/{attribute}.yaml").items()
    )
