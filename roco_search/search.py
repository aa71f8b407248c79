"""A query becomes ranked hits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError, LibraryEmpty
from roco_search.library import Library, Mode
from roco_search.library.indexing import check_model
from roco_search.models.encoder import Encoder


@dataclass(frozen=True, slots=True)
class Hit:
    """One picture that was found.

    Attributes
    ----------
    rank
        From 1.
    score
        Cosine similarity of the embeddings, -1 to 1. It is no probability, and scores of different queries or
        models do not compare.
    path
        The file's real path.
    frame, frames
        Which frame of how many, from 0.
    modality, body_part, view
        As the file's header says, in DICOM's terms; None where it says nothing that can be trusted.
    series
        A keyed hash, equal for the images of one series in one library.
    rows, columns
        The stored matrix in pixels.
    """

    rank: int
    score: float
    path: str
    frame: int
    frames: int
    modality: str | None
    body_part: str | None
    view: str | None
    series: str | None
    rows: int | None
    columns: int | None


def search(
    library: Library,
    encoder: Encoder,
    texts: Sequence[str] = (),
    *,
    vector: npt.NDArray[np.float32] | None = None,
    n: int = 10,
    mode: Mode = "auto",
) -> list[Hit]:
    """Find the pictures that are nearest to a query.

    Parameters
    ----------
    library
        Where to look.
    encoder
        The library's own model.
    texts
        What to look for; several texts are averaged into one query, as prompt ensembles are.
    vector
        An embedding of the same model, float32 ``(dim,)``, instead of texts.
    n
        How many hits, at least 1; fewer if the library holds fewer.
    mode
        "exact", "approximate", or "auto": see `VectorIndex.search`.

    Returns
    -------
    list of Hit
        Best first; equal scores in the order in which the pictures were indexed.

    Raises
    ------
    InputError
        If there is nothing to look for, or `n` is below 1.
    LibraryEmpty, ModelMismatch, LibraryError
    """
    active = library.model
    if active is None or not active.count:
        raise LibraryEmpty(f"The library {library.directory} holds no image yet; index some with `roco index PATH`.")
    check_model(active, encoder)
    query = _query(encoder, texts, vector)
    with library.snapshot():
        ids, scores = library.search(query, n, mode)
        frames = library.frames(ids[0].tolist())
    hits = []
    for rank, (frame_id, score) in enumerate(zip(ids[0].tolist(), scores[0].tolist(), strict=True), start=1):
        found = frames[frame_id]
        shown = {name: getattr(found, name) for name in Hit.__slots__ if name not in {"rank", "score"}}
        hits.append(Hit(rank=rank, score=score, **shown))
    return hits


def _query(encoder: Encoder, texts: Sequence[str], vector: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    if vector is None:
        if isinstance(texts, str) or not texts or not all(text.strip() for text in texts):
            raise InputError('Say what to look for, such as `roco query "pleural effusion"`.')
        vector = np.asarray(encoder.encode_texts(list(texts)), np.float32).mean(axis=0)
    vector = np.asarray(vector, np.float32).reshape(-1)
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or norm < 1e-6:
        raise InputError("The model makes nothing of this query; say it in other words.")
    return (vector / np.float32(norm))[None]
