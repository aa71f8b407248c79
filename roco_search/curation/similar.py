"""Images like one that the library holds: found by its stored vector, without a model and without opening the file."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import numpy as np

from roco_search.errors import InputError
from roco_search.library import Library, StoredFrame
from roco_search.library.directory import real_path
from roco_search.search.hits import Hit

if TYPE_CHECKING:
    from roco_search.probe.space import Space


def find_similar(
    library: Library,
    path: str | os.PathLike[str],
    *,
    n: int = 10,
    frame: int | None = None,
    other_series: bool = False,
    space: Space | None = None,
) -> list[Hit]:
    """Find the pictures nearest to one of the library.

    Parameters
    ----------
    library
        The library to search.
    path
        A file that it holds.
    n
        The number of hits, at least 1; fewer are returned only if there are no more.
    frame
        Which frame of the file, from 0; None for the stored one that is nearest the middle.
    other_series
        Leave out its series too: there, the slices beside it are nearest.
    space
        Compare in a space that was taught, in place of the model's own; the score is the cosine similarity there.

    Returns
    -------
    list of Hit
        Best first; the file itself and files of equal content are left out.

    Raises
    ------
    InputError
        If the library does not hold the file, or not that frame.
    ModelMismatch
        If the space is of another model.
    LibraryEmpty, LibraryError
    """
    with library.snapshot():
        library.active()
        chosen = _chosen(library.frames.of_file(real_path(path)), os.fspath(path), frame)
        digest = library.frames.content_hash(chosen.path)
        own = library.frames.of_content(digest or b"", chosen.path)
        if other_series:
            own = np.union1d(own, library.frames.members([chosen.id], "series").get(chosen.id, own))
        query = library.embeddings(np.array([chosen.id], np.int64))
        if space is None:
            ids, scores = library.search(query, n + len(own))
            near = list(zip(ids[0].tolist(), scores[0].tolist(), strict=True))
        else:
            near = space.nearest(library, query[0], n + len(own))
        found = [(i, score) for i, score in near if i not in own][:n]
        frames = library.frames.get(frame_id for frame_id, _ in found)
    return [
        Hit(
            rank=rank,
            score=score,
            path=frames[i].path,
            frame=frames[i].frame,
            frames=frames[i].frames,
            modality=frames[i].modality,
            body_part=frames[i].body_part,
            view=frames[i].view,
            series=frames[i].series,
            rows=frames[i].rows,
            columns=frames[i].columns,
            study=frames[i].study,
        )
        for rank, (i, score) in enumerate(found, start=1)
    ]


def _chosen(frames: list[StoredFrame], path: str, number: int | None) -> StoredFrame:
    if not frames:
        if os.path.isdir(path):  # noqa: PTH112 - of what the person wrote
            raise InputError(f"{path} is a folder; name one image in it.")
        if not os.path.exists(path):  # noqa: PTH110
            raise InputError(f"The library has no image {path}, and there is no such file; check the path.")
        raise InputError(
            f"The library has no image {path}; to search with any image, run `roco query {shlex.quote(path)}`."
        )
    if number is None:
        return min(frames, key=lambda frame: abs(frame.frame - frame.frames // 2))
    for frame in frames:
        if frame.frame == number:
            return frame
    stored = ", ".join(str(frame.frame + 1) for frame in frames[:5]) + ("" if len(frames) <= 5 else ", …")
    raise InputError(f"Of {path} the library has frame {stored}, not {number + 1}; index others with `frames`.")
