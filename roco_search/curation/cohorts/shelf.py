"""The cohorts of a library: files in its folder ``cohorts``, each written whole or not at all, for its owner alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roco_search.curation.cohorts.cohort import Cohort, Definition, Member, check_name
from roco_search.errors import InputError
from roco_search.library import Library
from roco_search.library.directory import COHORTS, names_in
from roco_search.system.files import set_mode, write_errors, write_file

ENDING = ".json"
LARGEST = 1 << 30
_VERSION = 1


def names(library: Library) -> list[str]:
    """Return the names of a library's cohorts, ascending."""
    return names_in(library.directory / COHORTS, ENDING)


def load(library: Library, name: str) -> Cohort:
    """Return a cohort of a library.

    Raises
    ------
    InputError
        If there is none of this name, or its file is damaged.
    """
    place = _place(library, name)
    try:
        if place.stat().st_size > LARGEST:
            raise ValueError
        return _parse(json.loads(place.read_text("utf-8")), name)
    except FileNotFoundError:
        there = ", ".join(names(library)) or "none"
        raise InputError(f"There is no cohort {name!r} (there is {there}); make one with `roco cohort save`.") from None
    except OSError as error:
        raise InputError(f"{place} cannot be read ({error.strerror}); check its permissions.") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(f"{place} is damaged; delete it, and save the cohort again.") from None


def keep(library: Library, cohort: Cohort, *, overwrite: bool = False) -> None:
    """Write a cohort into a library.

    Raises
    ------
    InputError
        If there is one of this name and it is not to be replaced, or it cannot be written.
    StorageFull
    """
    place = _place(library, cohort.name)
    if place.exists() and not overwrite:
        raise InputError(
            f"There is a cohort {cohort.name!r} already; bring it up to date with `roco cohort refresh {cohort.name}`, "
            "choose another name, or replace it with `force=True`."
        )
    content = {"version": _VERSION} | asdict(cohort)
    content["members"] = [[member.key, member.score, member.match] for member in cohort.members]
    with write_errors(place):
        place.parent.mkdir(mode=0o700, exist_ok=True)
        set_mode(place.parent, 0o700)
        write_file(place, json.dumps(content, ensure_ascii=True) + "\n")


def remove(library: Library, name: str) -> None:
    """Forget a cohort; its pictures stay. Raises `InputError` if there is none of this name."""
    place = _place(library, name)
    if not place.exists():
        load(library, name)
    with write_errors(place):
        place.unlink(missing_ok=True)


def _place(library: Library, name: str) -> Path:
    return library.directory / COHORTS / f"{check_name(name)}{ENDING}"


def _parse(found: dict[str, Any], name: str) -> Cohort:
    if found["version"] != _VERSION:
        raise ValueError
    said: dict[str, Any] = found["definition"]
    said = {key: tuple(map(str, value)) if isinstance(value, list) else value for key, value in said.items()}
    members = tuple(Member(str(key), score, match) for key, score, match in found["members"])
    texts = {key: str(found[key]) for key in ("created", "refreshed", "model", "fingerprint", "roco")}
    return Cohort(name=name, definition=Definition(**said), members=members, understood=found["understood"], **texts)
