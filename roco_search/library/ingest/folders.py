"""What the names of folders say about the images in them: a class, as in imagefolders, or a case."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache

from roco_search.datasets.splits import known_split
from roco_search.vocabulary import read_yaml
from roco_search.vocabulary.concepts import fold, lexicon

LEAST_CLASSES, LEAST_CASES = 2, 3  # folders of a kind beside one another
_WORD_OR_NUMBER = re.compile(r"[a-z]+|\d+")
_HASH = re.compile(r"[0-9a-f]{8,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9.]{20,}")


def class_folders(folders: Iterable[str], roots: Iterable[str]) -> dict[str, str]:
    """Return which folders name what is on the images in them, with that in words: "brain tumor" of ``brain_tumor``.

    Such a folder has siblings of its kind, at least half of which are named in words of radiology; it is named in words
    rather than numbers, and is neither a split nor called as any folder may be, such as ``images``.

    Parameters
    ----------
    folders
        Folders that hold images directly.
    roots
        The folders that were given: they name no class.
    """
    named = {folder: _class_name(os.path.basename(folder)) for folder in set(folders) - set(roots)}  # noqa: PTH119
    siblings: defaultdict[str, list[str]] = defaultdict(list)
    for folder, name in named.items():
        if name:
            siblings[os.path.dirname(folder)].append(folder)  # noqa: PTH120
    return {
        folder: named[folder]
        for group in siblings.values()
        if len(group) >= LEAST_CLASSES and 2 * sum(_is_medical(named[folder]) for folder in group) >= len(group)
        for folder in group
    }


def case_folders(folders: Iterable[str], roots: Iterable[str]) -> dict[str, str]:
    """Return for folders that hold images the folder that is their case, where there is one.

    Cases are folders beside one another whose names differ in a number (``MPX1007``, ``MPX1009``, …) or are hashes. A
    folder named after a series ("series_2") belongs to the case around it; numbered classes and parts ("grade_1",
    "fold_2") are no cases.

    Parameters
    ----------
    folders
        Folders that hold images directly.
    roots
        The folders that were given: they are no cases, and nothing above them is.
    """
    chains = {folder: _up_to(folder, set(roots)) for folder in set(folders)}
    kinds: Counter[tuple[str, str]] = Counter()
    names = {folder: _pattern(os.path.basename(folder)) for chain in chains.values() for folder in chain}  # noqa: PTH119
    kinds.update((os.path.dirname(folder), name) for folder, name in names.items())  # noqa: PTH120
    cases = {}
    for folder, chain in chains.items():
        for at in chain:
            if names[at] and kinds[os.path.dirname(at), names[at]] >= LEAST_CASES:  # noqa: PTH120
                cases[folder] = at
                break
    return cases


def _up_to(folder: str, roots: set[str]) -> list[str]:
    """Return a folder and those around it that are below a root, from the inside out."""
    chain: list[str] = []
    at = folder
    while at not in roots:
        above = os.path.dirname(at)  # noqa: PTH120 - a name that need not be UTF-8
        if above == at:
            return []
        chain.append(at)
        at = above
    return chain


def _pattern(name: str) -> str:
    """Return what the names of cases of one kind share; "" for a name that is no case's."""
    name = name.casefold()
    if _HASH.fullmatch(name):
        return "#"
    words = _WORD_OR_NUMBER.findall(name)
    letters = {word for word in words if word.isalpha()}
    if (
        len(letters) == len(words)
        or letters & (_words("parts") | _words("classes"))
        or (not letters and len(name) == 1)
    ):
        return ""
    return re.sub(r"\d+", "#", name)


def _class_name(name: str) -> str:
    """Return the name of a class in words; "" for a name that is no class's."""
    words = [word for word in re.split(r"[\s_\-.,+()]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)) if word]
    digits = [sum(char.isdigit() for char in word) for word in words]
    if sum(count > 0 for count in digits) > 1 or any(count > 2 for count in digits):
        return ""
    if known_split(name) or not any(sum(char.isalpha() for char in word) > 2 for word in words):
        return ""
    return "" if {word.casefold() for word in words} <= _words("generic") else " ".join(words)


def _is_medical(name: str) -> bool:
    """Whether something that a query can ask for is in a name."""
    words = fold(name).split()
    phrases = (" ".join(words[start:end]) for end in range(len(words) + 1) for start in range(end))
    return any(phrase in lexicon().phrases for phrase in phrases)


@cache
def _words(kind: str) -> frozenset[str]:
    return frozenset(read_yaml("folders.yaml")[kind])
