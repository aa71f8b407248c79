"""The protocols by which retrieval is ranked, and the figures that others have published, under their real names.

- ``whole``: each query among all images or all captions, in both directions. Always measured.
- ``roco-v1``: as ROCO-Radiology-CLIP measured, image-to-text inside contiguous batches of 32.
- ``m3ae-2k``: as ``whole``, on the 2,000 pairs that `evaluation.m3ae` draws.
- ``shuffled-32``: image-to-text among 32 candidates, the mean over 20 shuffles.

ROCO-Radiology-CLIP (github.com/Youngboy01/CLIP-Project) first reported its 6.02 % as "global recall@5". The output of
its own notebook (notebooks/Testing.ipynb at commit 711bd30) shows it to be image-to-text recall@1, as its author has
corrected since (commit 3205095). Its other global figures are in the same output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError
from roco_search.statistics.bootstrap import Estimate, Figure, Metric, Values, differences, estimate, metrics
from roco_search.statistics.ranks import (
    RANK_FIGURES,
    Direction,
    Matching,
    Owners,
    check_embeddings,
    identities,
    rank_any,
    ranks_both_ways,
    recall,
)

Protocol = Literal["whole", "roco-v1", "m3ae-2k", "shuffled-32"]
BATCH = 32
SHUFFLES = 20
SHUFFLE_SEED = 0
_SHOWN, _FOUND = 0, {1: 1, 5: 2}  # columns of the values of shuffled-32
ROCO_TEST = 8176
SOURCE = "ROCO-Radiology-CLIP, CLIP ViT-B/32 fine-tuned on ROCO"


@dataclass(frozen=True, slots=True)
class Retrieval:
    """One direction of one protocol.

    Attributes
    ----------
    protocol
        Its name, such as "whole" for the whole pool.
    direction, matching
        The direction of the search, and whether an identical caption counts as found ("any").
    queries
        How many were ranked.
    candidates
        Size of the pool that each was ranked in.
    metrics
        With 95 % bootstrap intervals over the queries.
    against, difference
        The same of another model on the same pairs, and how much more this one has, by a paired bootstrap.
    """

    protocol: str
    direction: Direction
    matching: Matching
    queries: int
    candidates: int
    metrics: Mapping[str, Metric]
    against: Mapping[str, Metric] | None = None
    difference: Mapping[str, Metric] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The queries of one direction of one protocol, before figures are computed from them.

    ``values`` are ranks int64 ``(n,)``, or what `figures` need of each query, ``(n, parts)``. ``clusters`` are the
    images of captions, which are resampled with all their captions. The rest is as in `Retrieval`.
    """

    protocol: str
    direction: Direction
    matching: Matching
    candidates: int
    values: Values
    figures: Mapping[str, Figure] = field(default_factory=lambda: RANK_FIGURES)
    clusters: Owners | None = None

    def estimate(self, seed: int = 0) -> dict[str, Estimate]:
        """Return the figures, and what they are on resamples of the queries."""
        return estimate(self.values, self.figures, seed, clusters=self.clusters)

    def summarize(self, seed: int = 0, against: Ranking | None = None) -> Retrieval:
        """Return the figures with their intervals, and beside them those of another model on the same queries."""
        own = self.estimate(seed)
        found = Retrieval(self.protocol, self.direction, self.matching, len(self.values), self.candidates, metrics(own))
        if against is None:
            return found
        other = against.estimate(seed)
        return replace(found, against=metrics(other), difference=differences(own, other))


def rank_whole_pool(
    images: np.ndarray,
    texts: np.ndarray,
    captions: Sequence[str],
    owners: Owners | None = None,
    protocol: str = "whole",
) -> list[Ranking]:
    """Rank both directions over all images and captions, strict and any-match; see `ranks_both_ways`."""
    return [
        Ranking(
            protocol,
            direction,
            matching,
            len(texts) if direction == "image-to-text" else len(images),
            found,
            clusters=owners if direction == "text-to-image" else None,
        )
        for (direction, matching), found in ranks_both_ways(images, texts, captions, owners).items()
    ]


def rank_roco_v1(images: np.ndarray, texts: np.ndarray, batch: int = BATCH) -> Ranking:
    """Rank as ROCO-Radiology-CLIP did, to the letter: this is not recall over the test set.

    Contiguous batches of 32 in the order of the data set, the last one short; image to text only; ranks by the
    order of a descending sort, so that a tie may count as found.
    """
    check_embeddings(images, texts, len(images))
    places = []
    for start in range(0, len(images), batch):
        scores = images[start : start + batch] @ texts[start : start + batch].T
        order = np.argsort(-scores, axis=1, kind="stable")
        places.append((order == np.arange(len(scores))[:, None]).argmax(axis=1) + 1)
    figures = {f"recall@{k}": partial(recall, k) for k in _FOUND}
    return Ranking("roco-v1", "image-to-text", "strict", batch, np.concatenate(places), figures)


def rank_shuffled_32(
    images: np.ndarray,
    texts: np.ndarray,
    captions: Sequence[str],
    shuffles: int = SHUFFLES,
    seed: int = SHUFFLE_SEED,
    numbers: Owners | None = None,
) -> Ranking:
    """Rank image-to-text among 32 candidates in 20 shuffles, dropping the remainder of each.

    Any caption identical to the own one, or of another pair of the same image by ``numbers`` ``(n,)``, counts as found,
    and a tie with a different one as missed.

    Raises
    ------
    InputError
        If there are fewer than 32 pairs, an embedding is not finite, or the shapes do not belong together.
    """
    check_batches(len(images))
    check_embeddings(images, texts, len(captions))
    random = np.random.default_rng(seed)
    identity = identities(captions)
    values = np.zeros((len(images), 1 + len(_FOUND)), np.int64)
    for _ in range(shuffles):
        order = random.permutation(len(images))
        rows = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
        scores = images[rows] @ texts[rows].transpose(0, 2, 1)
        same = _equal(identity[rows]) if numbers is None else _equal(identity[rows]) | _equal(numbers[rows])
        found = rank_any(scores, same)
        values[rows, _SHOWN] += 1
        for k, column in _FOUND.items():
            values[rows, column] += found <= k
    figures = {f"recall@{k}": partial(_share, column) for k, column in _FOUND.items()}
    return Ranking("shuffled-32", "image-to-text", "any", BATCH, values, figures)


def _equal(keys: Owners) -> npt.NDArray[np.bool_]:
    """Return bool ``(batches, size, size)``: which keys of a batch are equal."""
    return np.asarray(keys[:, :, None] == keys[:, None, :])


def check_batches(pairs: int) -> None:
    """Refuse, by an `InputError`, fewer pairs than a batch of 32."""
    if pairs < BATCH:
        raise InputError(f"{pairs} pairs are too few for batches of {BATCH}; use the whole pool instead.")


def _share(column: int, values: Values) -> Values:
    """Return how often a query was found, of the times that it was asked."""
    return np.asarray(values[..., column].sum(axis=-1) / values[..., _SHOWN].sum(axis=-1))


def whole_pool(
    images: np.ndarray, texts: np.ndarray, captions: Sequence[str], seed: int = 0, owners: Owners | None = None
) -> list[Retrieval]:
    """Both directions over all images and captions, strict and any-match; see `statistics.ranks.ranks_both_ways`."""
    return [ranking.summarize(seed) for ranking in rank_whole_pool(images, texts, captions, owners)]


def roco_v1(images: np.ndarray, texts: np.ndarray, batch: int = BATCH) -> dict[str, float]:
    """The batch-wise figures of ROCO-Radiology-CLIP, to the letter; see `rank_roco_v1`."""
    ranking = rank_roco_v1(images, texts, batch)
    return {f"batch-wise {name}": float(figure(ranking.values)) for name, figure in ranking.figures.items()}


def shuffled_32(
    images: np.ndarray,
    texts: np.ndarray,
    captions: Sequence[str],
    shuffles: int = SHUFFLES,
    seed: int = SHUFFLE_SEED,
) -> dict[str, float]:
    """Image-to-text recall among 32 candidates, the mean over 20 shuffles; see `rank_shuffled_32`."""
    ranking = rank_shuffled_32(images, texts, captions, shuffles, seed)
    return {f"shuffled-32 {name}": float(figure(ranking.values)) for name, figure in ranking.figures.items()}


@dataclass(frozen=True, slots=True)
class Published:
    """A published figure of the original on the ROCO test set, N = 8,176.

    ``candidates`` is the pool that a query was ranked in: a batch of 32, or the whole test set.
    """

    direction: Direction
    candidates: int
    metric: str
    value: float


ROCO_V1: Sequence[Published] = (
    Published("image-to-text", 32, "recall@1", 0.7083),
    Published("image-to-text", 32, "recall@5", 0.9699),
    Published("image-to-text", ROCO_TEST, "recall@1", 0.0602),
    Published("image-to-text", ROCO_TEST, "recall@5", 0.1634),
    Published("text-to-image", ROCO_TEST, "recall@1", 0.0594),
    Published("text-to-image", ROCO_TEST, "recall@5", 0.1601),
)
