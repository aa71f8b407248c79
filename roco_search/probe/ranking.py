"""Searches that are ranked by what was taught: by a probe, or by marks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.library import Library
from roco_search.models.encoder import Encoder
from roco_search.probe.applying import apply, find
from roco_search.probe.feedback.direction import learned
from roco_search.search import Hit, Term, Understood
from roco_search.search.terms import embed
from roco_search.search.weighing import weigh

Find = Callable[..., list[Hit]]
"""`search` with a library, a model and everything but the query and what was learned."""


def ranked_by(
    library: Library, named: str, search: Find, terms: Sequence[Term], understood: Understood | None = None
) -> list[Hit]:
    """Return hits ranked by a probe's label, named as ``NAME`` or ``NAME:LABEL``, with its probability.

    With terms, its logit is added to what ranks their answers.

    Raises
    ------
    InputError, ModelMismatch
        If there is no such label, or it belongs to another model.
    """
    probe, place = find(library, named)
    probe.check_library(library.active())
    weights = probe.weights[place]
    hits = search(terms, understood=understood, toward=weights) if terms else search((), vector=weights)
    ids = [frame_id for hit in hits if (frame_id := library.frames.id_of(hit.path, hit.frame)) is not None]
    said = apply(library, probe, np.array(sorted(ids), np.int64))
    shares = dict(zip(said.ids.tolist(), said.probabilities[:, place].tolist(), strict=True))
    return [replace(hit, probability=shares.get(library.frames.id_of(hit.path, hit.frame) or 0)) for hit in hits]


def ranked_by_marks(
    library: Library,
    encoder: Encoder,
    search: Find,
    terms: Sequence[Term],
    understood: Understood | None,
    yes: Sequence[int],
    no: Sequence[int],
    **options: Any,
) -> list[Hit]:
    """Return hits ranked with marks, by id; the marked pictures are not among them."""
    marked = np.array(sorted({*yes, *no}), np.int64)
    toward = learned(library, base_vector(library, encoder, terms, understood), yes, no)
    return search(terms, understood=understood, toward=toward if len(marked) else None, without=marked, **options)


def base_vector(
    library: Library, encoder: Encoder, terms: Sequence[Term], understood: Understood | None
) -> npt.NDArray[np.float32]:
    """Return what ranks a query before anything is marked, float32 ``(dim,)``: its evidence's vector or its own."""
    if understood is None:
        return embed(library, encoder, terms)[0]
    with library.snapshot():
        return weigh(library, encoder, understood).ranking[0]
