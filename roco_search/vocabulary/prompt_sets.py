"""The prompt sets that come with the package, as ``roco_search/vocabulary/README.md`` describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

GENERAL = "general"


@dataclass(frozen=True, slots=True)
class Pair:
    """Templates for a label and for its opposite; ``{}`` stands for the label."""

    present: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PromptSet:
    """How one kind of image is spoken of."""

    name: str
    title: str
    finding: Pair
    normal: Pair
    modalities: frozenset[str]
    body_parts: frozenset[str]
    guess: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """By which words a label is understood."""

    normal: frozenset[str]
    abnormal: frozenset[str]
    negations: frozenset[str]
    negations_behind: frozenset[str]
    neutral: frozenset[str]
    subjects: frozenset[str]


@cache
def prompt_sets() -> Mapping[str, PromptSet]:
    """Return every prompt set by its name."""
    sets = {}
    for file in sorted(files("roco_search.vocabulary").iterdir(), key=lambda entry: entry.name):
        name, _, ending = file.name.rpartition(".")
        if ending == "yaml" and name != "words":
            sets[name] = _prompt_set(name, _load(file.name))
    return sets


@cache
def subject_prompts() -> Pair:
    """Return the templates for labels that name a modality or a part of the body."""
    return _pair(_load(f"{GENERAL}.yaml")["subject"])


@cache
def words() -> Words:
    """Return the words by which labels are understood."""
    return Words(**{key: frozenset(str(word) for word in value) for key, value in _load("words.yaml").items()})


def _load(name: str) -> Any:
    import yaml

    # BaseLoader leaves every scalar a text: YAML 1.1 would read "no" as False.
    return yaml.load((files("roco_search.vocabulary") / name).read_text("utf-8"), Loader=yaml.BaseLoader)


def _prompt_set(name: str, content: Mapping[str, Any]) -> PromptSet:
    return PromptSet(
        name=name,
        title=content["title"],
        finding=_pair(content["finding"]),
        normal=_pair(content["normal"]),
        modalities=frozenset(content.get("modalities", ())),
        body_parts=frozenset(content.get("body_parts", ())),
        guess=tuple(content.get("guess", ())),
    )


def _pair(content: Mapping[str, Any]) -> Pair:
    return Pair(tuple(content["present"]), tuple(content["absent"]))
