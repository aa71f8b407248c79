"""The cohorts of a library, in its folder ``cohorts``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from roco_search.curation.cohorts.cohort import Cohort, Definition, Member
from roco_search.library.directory import COHORTS
from roco_search.library.shelf import Shelf

_VERSION = 1


def _dump(cohort: Cohort) -> bytes:
    content = {"version": _VERSION} | asdict(cohort)
    content["members"] = [[member.key, member.score, member.match] for member in cohort.members]
    return (json.dumps(content, ensure_ascii=True) + "\n").encode()


def _load(content: bytes, name: str) -> Cohort:
    found: dict[str, Any] = json.loads(content)
    if found["version"] != _VERSION:
        raise ValueError
    said: dict[str, Any] = found["definition"]
    said = {key: tuple(map(str, value)) if isinstance(value, list) else value for key, value in said.items()}
    members = tuple(Member(str(key), score, match) for key, score, match in found["members"])
    texts = {key: str(found[key]) for key in ("created", "refreshed", "model", "fingerprint", "roco")}
    return Cohort(name=name, definition=Definition(**said), members=members, understood=found["understood"], **texts)


SHELF = Shelf("cohort", COHORTS, ".json", "make one with `roco cohort save`", _dump, _load, 1 << 30)
