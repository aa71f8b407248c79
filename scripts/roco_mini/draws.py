"""How often each pair is drawn: by what it is an image of, not by which data set it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
from drawn import SOURCE

from roco_search.datasets.pair import Pair

WRITTEN = 0.42
NOTHING = 0.05
# Of a written caption, the share of all written ones by source: vqa_rad's are terse and some vague, covid_chestxray
# has a few long notes for many films.
WRITTEN_SHARES: Mapping[str, float] = {"medpix2": 0.82, "vqa_rad": 0.1, "covid_chestxray": 0.05, "pocus_lung_us": 0.03}
MOST = 12.0  # how much oftener than a pair drawn evenly any pair without a written caption may be


def frequencies(pairs: Sequence[Pair]) -> np.ndarray:
    """Return the relative frequency of each pair, float ``(pairs,)``.

    Written captions and drawings have a fixed share. The rest is divided among classes, a modality of a part of the
    body, by the root of their size, and within a class among its sources in the same way: so a class that one source
    shows a thousand times over, all alike, is no more than one that five sources show.
    """
    kinds = [_kind(pair) for pair in pairs]
    shares = {"drawn": NOTHING, "written": WRITTEN, "label": 1 - NOTHING - WRITTEN}
    shares = {kind: share for kind, share in shares.items() if kind in kinds}
    weights = np.zeros(len(pairs))
    for kind, share in shares.items():
        own = [i for i, other in enumerate(kinds) if other == kind]
        found = _label([pairs[i] for i in own]) if kind == "label" else _by_source([pairs[i] for i in own])
        weights[own] = share * found
    return np.asarray(weights / weights.sum())


def _kind(pair: Pair) -> str:
    if pair.columns["source"] == SOURCE:
        return "drawn"
    return "written" if pair.columns["text_kind"] == "written" else "label"


def _by_source(pairs: Sequence[Pair]) -> np.ndarray:
    sizes = Counter(pair.columns["source"] for pair in pairs)
    weights = [WRITTEN_SHARES.get(pair.columns["source"], 1.0) / sizes[pair.columns["source"]] for pair in pairs]
    return np.array(weights) / sum(weights)


def _label(pairs: Sequence[Pair]) -> np.ndarray:
    classes = [(pair.columns["modality"], pair.columns["body_part"]) for pair in pairs]
    sources = [(*of, pair.columns["source"]) for of, pair in zip(classes, pairs, strict=True)]
    labels = [(*of, *map(str, pair.columns["labels"])) for of, pair in zip(sources, pairs, strict=True)]
    share = _roots(classes) * _within(sources, classes) * _within(labels, sources) / _count(labels)
    share = share / share.sum()
    share = np.minimum(share, MOST / len(pairs))
    return np.asarray(share / share.sum())


def _roots(of: Sequence[Hashable]) -> np.ndarray:
    sizes = Counter(of)
    total = sum(size**0.5 for size in sizes.values())
    return np.array([sizes[key] ** 0.5 / total for key in of])


def _within(inner: Sequence[Hashable], outer: Sequence[Hashable]) -> np.ndarray:
    """Return the share of each pair's inner group of its outer one, by the roots of the sizes of the inner ones."""
    sizes, of = Counter(inner), dict(zip(inner, outer, strict=True))
    totals: Counter[Hashable] = Counter()
    for key, size in sizes.items():
        totals[of[key]] += size**0.5
    return np.array([sizes[key] ** 0.5 / totals[of[key]] for key in inner])


def _count(of: Iterable[Hashable]) -> np.ndarray:
    keys = list(of)
    sizes = Counter(keys)
    return np.array([sizes[key] for key in keys], float)
