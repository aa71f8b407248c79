"""Captions found by images and images by captions: over the whole pool always, and by other protocols beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from roco_search.datasets.pair import Pair
from roco_search.errors import InputError
from roco_search.evaluation.classes import Column
from roco_search.evaluation.embed import Embedded
from roco_search.evaluation.m3ae import find_pairs
from roco_search.evaluation.protocols import (
    Protocol,
    Ranking,
    Retrieval,
    rank_roco_v1,
    rank_shuffled_32,
    rank_whole_pool,
)


@dataclass(frozen=True, slots=True, eq=False)
class RetrievalResult:
    """What was measured.

    Attributes
    ----------
    whole
        Both directions under both rules over all images and captions.
    rankings
        The rankings behind these figures, for each model.
    protocols
        What other protocols give, by their name.
    groups
        Both directions under both rules inside each group: its pool is the group alone.
    without_choice
        Groups with a single caption or image, in which there is nothing to rank.
    missing
        Of the pairs of m3ae-2k, those that are not here.
    """

    whole: Sequence[Retrieval]
    rankings: Sequence[Sequence[Ranking]]
    protocols: Mapping[Protocol, Sequence[Retrieval]] = field(default_factory=dict)
    groups: Mapping[str, Sequence[Retrieval]] = field(default_factory=dict)
    without_choice: Sequence[str] = ()
    missing: Sequence[str] = ()


def check_captions(pairs: Sequence[Pair]) -> None:
    """Refuse pairs among which nothing can be looked for.

    Raises
    ------
    InputError
        If there are not two, or all images or all captions are the same.
    """
    if len(pairs) < 2:
        raise InputError(
            f"There {'is one pair' if pairs else 'is no pair'} here, and a search needs at least two to choose from; "
            "choose another split, or fewer conditions."
        )
    if len({pair.image for pair in pairs}) == 1:
        raise InputError(
            f"All {len(pairs):,} pairs show the same image, and a search needs at least two to choose from; choose "
            "another split, or fewer conditions."
        )
    if len({pair.caption for pair in pairs}) == 1:
        raise InputError(
            f"All {len(pairs):,} captions are the same, so there is nothing to distinguish; choose data with captions "
            "of their own, or measure the classes of a column with `classify`."
        )


def measure_retrieval(
    found: Sequence[Embedded],
    protocols: Sequence[Protocol] = (),
    by: Column | None = None,
    m3ae_ids: Sequence[str] = (),
    seed: int = 0,
) -> RetrievalResult:
    """Measure retrieval.

    Parameters
    ----------
    found
        What a model makes of pairs, or two models of the same pairs.
    protocols
        What to measure besides the whole pool.
    by
        A column by whose values to measure too.
    m3ae_ids
        The ids of m3ae-2k.
    seed
        The seed of the bootstrap; the protocols have seeds of their own.

    Raises
    ------
    InputError
        If there are not two pairs, or too few for a protocol.
    """
    pairs = found[0].pairs
    check_captions(pairs)
    everything = np.arange(len(pairs))
    rankings = [rank("whole", embedded, everything) for embedded in found]
    results: dict[Protocol, Sequence[Retrieval]] = {}
    missing: Sequence[str] = ()
    for protocol in dict.fromkeys(protocols):
        rows = everything
        if protocol == "m3ae-2k":
            subset = find_pairs(m3ae_ids, pairs)
            rows, missing = np.array(subset.rows), subset.missing
        if protocol != "whole":
            results[protocol] = _summarize([rank(protocol, embedded, rows) for embedded in found], seed)
    groups: dict[str, Sequence[Retrieval]] = {}
    without_choice = []
    if by is not None:
        values = np.array([by.of(pair) or "" for pair in pairs])
        for value in sorted(set(values.tolist()) - {""}):
            rows = np.flatnonzero(values == value)
            inside = [pairs[row] for row in rows.tolist()]
            if len({pair.caption for pair in inside}) > 1 and len({pair.image for pair in inside}) > 1:
                groups[value] = _summarize([rank("whole", embedded, rows) for embedded in found], seed)
            else:
                without_choice.append(value)
    return RetrievalResult(_summarize(rankings, seed), rankings, results, groups, without_choice, missing)


def rank(protocol: Protocol, embedded: Embedded, rows: npt.NDArray[np.int64]) -> list[Ranking]:
    """Rank some rows of what was embedded by a protocol: pairs in batches, or else images and captions in one pool."""
    match protocol:
        case "roco-v1":
            return [rank_roco_v1(embedded.images[rows], embedded.texts[rows])]
        case "shuffled-32":
            captions = [embedded.pairs[row].caption for row in rows]
            numbers = embedded.image_numbers[rows]
            return [rank_shuffled_32(embedded.images[rows], embedded.texts[rows], captions, numbers=numbers)]
    pool = embedded.pool(rows)
    return rank_whole_pool(pool.images, pool.texts, pool.captions, pool.owners, protocol)


def _summarize(rankings: Sequence[Sequence[Ranking]], seed: int) -> list[Retrieval]:
    others = rankings[1] if len(rankings) > 1 else [None] * len(rankings[0])
    return [ranking.summarize(seed, other) for ranking, other in zip(rankings[0], others, strict=True)]
