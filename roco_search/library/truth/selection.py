"""Which pictures of a library are meant: by what is stored of them, never by their vectors."""

import fnmatch
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from roco_search.library.truth.store import AT_OR_BELOW, Store, at_or_below, raw

Ids = npt.NDArray[np.int64]
Term = Literal["modality", "body_part", "view"]
Belonging = Literal["series", "study", "file"]

_FROM = "FROM frames JOIN files ON files.id = file_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Conditions on pictures. Values of one attribute are alternatives; all attributes that have any must hold.

    Attributes
    ----------
    modality, body_part, view
        Terms as they are stored; None stands for pictures of which the header says nothing.
    under
        Real paths of folders and files.
    path
        Patterns of the whole path as a shell's, with upper and lower case apart; ``*`` stands for ``/`` too.
    """

    modality: tuple[str | None, ...] = ()
    body_part: tuple[str | None, ...] = ()
    view: tuple[str | None, ...] = ()
    under: tuple[str, ...] = ()
    path: tuple[str, ...] = ()


def select(store: Store, selection: Selection) -> Ids:
    """Return the ids of the frames that fulfil a selection, int64, ascending."""
    conditions, parameters = ["status = 'indexed'"], list[Any]()
    terms: dict[Term, tuple[str | None, ...]] = {
        "modality": selection.modality,
        "body_part": selection.body_part,
        "view": selection.view,
    }
    for column, values in terms.items():
        if values:
            # IS, not =: it also compares with NULL.
            conditions.append(f"({' OR '.join([f'{column} IS ?'] * len(values))})")
            parameters += values
    if selection.under:
        conditions.append(f"({' OR '.join([AT_OR_BELOW] * len(selection.under))})")
        parameters += [value for folder in selection.under for value in at_or_below(folder)]
    path = "files.path" if selection.path else "NULL"
    sql = f"SELECT frames.id, {path} {_FROM} WHERE {' AND '.join(conditions)} ORDER BY frames.id"
    rows = store.read(sql, parameters)
    if selection.path:
        # SQLite's GLOB knows no [!…] and takes names that are no UTF-8 apart wrongly.
        fits = re.compile("|".join(fnmatch.translate(pattern) for pattern in selection.path)).match
        rows = [row for row in rows if fits(row[1])]
    return np.array([frame_id for frame_id, _ in rows], np.int64)


def count_terms(store: Store, term: Term) -> dict[str, int]:
    """Return how many frames have each value of an attribute; what headers leave open is not counted."""
    sql = f"SELECT {term}, COUNT(*) {_FROM} WHERE status = 'indexed' AND {term} IS NOT NULL GROUP BY 1 ORDER BY 1"
    return dict(store.read(sql))


def members(store: Store, ids: Sequence[int], belonging: Belonging) -> dict[int, Ids]:
    """Return, for each of these frames, the ids of all frames of its series, study or file, itself included.

    A frame that belongs to no series (or study) is left out.
    """
    wanted = json.dumps([int(frame_id) for frame_id in ids])
    if belonging == "file":
        sql = """
            SELECT chosen.id, other.id FROM frames AS chosen JOIN frames AS other ON other.file_id = chosen.file_id
            WHERE chosen.id IN (SELECT value FROM json_each(?))
        """
        groups: dict[int, list[int]] = {}
        for frame_id, other in store.read(sql, [wanted]):
            groups.setdefault(frame_id, []).append(other)
        return {frame_id: np.array(sorted(others), np.int64) for frame_id, others in groups.items()}
    sql = f"SELECT id, {belonging} FROM frames WHERE id IN (SELECT value FROM json_each(?))"
    keys = {frame_id: key for frame_id, key in store.read(sql, [wanted]) if key is not None}
    if not keys:  # SQLite would look through every frame to find none.
        return {}
    sql = f"SELECT id, {belonging} FROM frames WHERE {belonging} IN (SELECT value FROM json_each(?)) ORDER BY id"
    by_key: dict[str, list[int]] = {}
    for other, key in store.read(sql, [json.dumps(sorted(set(keys.values())))]):
        by_key.setdefault(key, []).append(other)
    return {frame_id: np.array(by_key[key], np.int64) for frame_id, key in keys.items()}


def same_file(store: Store, content_hash: bytes, path: str | None = None) -> Ids:
    """Return the ids of the frames of every file with a content (SHA-256) or at a real path, int64, ascending."""
    sql = f"SELECT frames.id {_FROM} WHERE content_hash = ? OR files.path = CAST(? AS TEXT) ORDER BY frames.id"
    parameters = [content_hash, None if path is None else raw(path)]
    return np.array([frame_id for (frame_id,) in store.read(sql, parameters)], np.int64)
