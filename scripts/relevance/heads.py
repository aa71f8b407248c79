"""Linear heads over a model's embeddings: modality, body part and plane, from the labels of the training pairs.

Linear discriminant analysis with a shrunk covariance (Ledoit and Wolf 2004 give the idea; the shrinkage is fixed) and
equal priors: a closed form, so that refitting to another model takes no longer than a product. Its logits are too sure
of themselves; one temperature per attribute, by likelihood on the cases to fit with, corrects that.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from embedding import findings

from roco_search.search.senses import ATTRIBUTES, NEITHER, Head, classes
from roco_search.search.weights import FALSE_ALARM
from roco_search.statistics.classification import auc
from roco_search.vocabulary.concepts import lexicon

SHRINKAGE = 0.2
TEMPERATURES = (0.05, 0.08, 0.12, 0.18, 0.25, 0.35, 0.5)
FIRM = 0.3
FOLDS = 4
FEW, LEAST = 3, 16  # Pictures of a kind from which it counts, and pictures with a finding from which it has a head.
DETECTABLE = 0.65  # AUC on cases left out.
LIKELIER = 10  # The positive likelihood ratio from which on a finding is certain.
ABSENT = -50.0  # The logit of a class that no picture was there to learn from.

MODALITIES = {"CT": "CT", "MR": "MR", "XR": "XR", "US": "US", "MG": "MG", "OTHER": "XA", "NM": "NM", "PET": "NM"}
LIMBS = "musculoskeletal humerus tibia hip fibula femur forearm ankle leg elbow foot"
BODY_PARTS = {
    **{name: name for name in ("orbit", "teeth", "heart", "breast", "kidney", "fetus", "spine", "knee")},
    **dict.fromkeys(("brain", "head"), "head"),
    **dict.fromkeys(("neck", "head and neck"), "neck"),
    **dict.fromkeys(("chest", "lung"), "chest"),
    **dict.fromkeys(("abdomen", "liver"), "abdomen"),
    **dict.fromkeys(("pelvis", "prostate"), "pelvis"),
    **dict.fromkeys(("hand", "wrist"), "hand"),
    **dict.fromkeys(LIMBS.split(), "limb"),
}
PLANES = ("axial", "sagittal", "coronal")
SLICED = frozenset({"CT", "MR"})

Vectors = npt.NDArray[np.float32]


def labels(row: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the class of a picture in each attribute; None where its columns do not say."""
    if row["modality"] == "none":
        return dict(NEITHER)
    said = " ".join(row["labels"]).lower()
    body_part = BODY_PARTS.get(row["body_part"])
    if "kidney" in said and row["modality"] == "US":
        body_part = "kidney"
    return {"modality": MODALITIES.get(row["modality"]), "body_part": body_part, "plane": _plane(row, said)}


def _plane(row: Mapping[str, Any], said: str) -> str | None:
    if row["modality"] not in SLICED:
        return NEITHER["plane"]
    for text in (said, str(row["text"]).lower()):
        found = [plane for plane in PLANES if re.search(rf"\b{plane}\b", text)]
        if len(found) == 1:
            return found[0]
    return None


def fit_heads(
    rows: Sequence[Mapping[str, Any]], vectors: Vectors, held: Sequence[Mapping[str, Any]], held_vectors: Vectors
) -> dict[str, Head]:
    """Return a head for each attribute, with its temperature chosen on other pictures."""
    heads = {}
    for attribute in ATTRIBUTES:
        names = list(classes(attribute))
        of, known = class_numbers(rows, attribute, names)
        weights, offsets = discriminant(vectors[known], of[known], len(names))
        of, known = class_numbers(held, attribute, names)
        logits = held_vectors[known] @ weights.T + offsets
        losses = [_loss(temperature * logits, of[known]) for temperature in TEMPERATURES]
        temperature = TEMPERATURES[int(np.argmin(losses))]
        offsets = np.maximum(temperature * offsets, ABSENT)
        heads[attribute] = Head((temperature * weights).astype(np.float32), offsets.astype(np.float32))
    return heads


def class_numbers(
    rows: Sequence[Mapping[str, Any]], attribute: str, names: list[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the number of the class of each picture, int64 ``(n,)``, and of which that is known, bool ``(n,)``."""
    found = [labels(row)[attribute] for row in rows]
    known = np.array([name is not None for name in found])
    return np.array([0 if name is None else names.index(name) for name in found]), known


def discriminant(
    vectors: Vectors, of: npt.NDArray[np.int64], count: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return weights, float64 ``(count, dim)``, and offsets of the discriminant; classes count alike."""
    wide = vectors.astype(np.float64)
    sizes = np.bincount(of, minlength=count)
    means = np.zeros((count, wide.shape[1]))
    np.add.at(means, of, wide)
    means /= np.maximum(sizes, 1)[:, None]
    apart = (wide - means[of]) / np.sqrt(sizes[of])[:, None]
    spread = apart.T @ apart / (sizes > 0).sum()
    spread = (1 - SHRINKAGE) * spread + SHRINKAGE * np.trace(spread) / len(spread) * np.eye(len(spread))
    weights = np.linalg.solve(spread, means.T).T
    offsets = -0.5 * (weights * means).sum(axis=1)
    offsets[sizes == 0] = -np.inf
    return weights, offsets


class Detected(NamedTuple):
    """The findings that can be told from their absence: among what, how, and from where on they are certain.

    `kinds` and `certain` are what `Weights.detectable` and `Weights.certain` say.
    """

    kinds: dict[str, dict[str, list[str]]]
    head: Head
    certain: dict[str, float]


def fit_findings(rows: Sequence[Mapping[str, Any]], vectors: Vectors) -> Detected:
    """Return the findings that can be told from their absence, with a head of one logit for each, at even odds.

    Each is learned among pictures of the kinds (modality and body part) that show it, where half of the weight of its
    absence is given to pictures of the same sources, lest the source be learned instead. The logits are calibrated on
    cases that were left out (Platt 1999); a finding that those do not tell apart (`DETECTABLE`) has no head.
    """
    named = [_with_kinds(findings(dict(row))) for row in rows]
    kinds = [(row["modality"], BODY_PARTS.get(row["body_part"])) for row in rows]
    sources = np.array([row["source"] for row in rows])
    folds = np.array([zlib.crc32(str(row.get("group", row["file"])).encode()) % FOLDS for row in rows])
    keys: dict[str, dict[str, list[str]]] = {}
    weights, offsets, certain = [], [], {}
    for key in sorted(set().union(*named)):
        present = np.array([key in found for found in named])
        counts = Counter(kind for kind, has in zip(kinds, present, strict=True) if has)
        among = np.array([counts[kind] >= FEW for kind in kinds])
        present &= among
        if present.sum() < LEAST:
            continue
        at = np.flatnonzero(among)
        here, of = vectors[at].astype(np.float64), present[at]
        share = _shares(of, sources[at])
        held = np.zeros(len(at))
        for fold in range(FOLDS):
            out = folds[at] == fold
            if of[~out].sum() and (~of[~out]).sum():
                direction, offset = _two(here[~out], of[~out], share[~out])
                held[out] = here[out] @ direction + offset
        slope, shift = _platt(held, of, share)
        if auc(held, of) < DETECTABLE or slope <= 0:
            continue
        direction, offset = _two(here, of, share)
        keys[key] = {
            "modality": sorted({MODALITIES[kind[0]] for kind in kinds_of(counts)}),
            "body_part": sorted({str(kind[1]) for kind in kinds_of(counts) if kind[1]}),
        }
        weights.append(slope * direction)
        offsets.append(slope * offset + shift)
        least = _least_certain(slope * held + shift, of, share)
        if least is not None:
            certain[key] = round(-float(np.logaddexp(0, -least)), 3)
    return Detected(keys, Head(np.array(weights, np.float32), np.array(offsets, np.float32)), certain)


def _least_certain(
    logits: npt.NDArray[np.float64], of: npt.NDArray[np.bool_], share: npt.NDArray[np.float64]
) -> float | None:
    """Return the logit that `FALSE_ALARM` of the absences reach; None unless `LIKELIER` times as many presences do."""
    order = np.argsort(-logits[~of])
    passed = np.cumsum(share[~of][order]) / share[~of].sum()
    least = float(logits[~of][order][np.searchsorted(passed, FALSE_ALARM)])
    reached = share[of][logits[of] > least].sum() / share[of].sum()
    return least if reached >= LIKELIER * FALSE_ALARM else None


def kinds_of(counts: Mapping[tuple[str, str | None], int]) -> list[tuple[str, str | None]]:
    """Return the kinds of pictures that show something often enough to learn it from them."""
    return [kind for kind, count in counts.items() if count >= FEW]


def _with_kinds(found: frozenset[str]) -> frozenset[str]:
    """Return findings and what they are kinds of."""
    known, more = set(found), set(found)
    while more:
        concepts = [lexicon().concepts[tuple(name.split(":", 1))] for name in more]  # type: ignore[index]
        more = {f"{concept.kind}:{parent}" for concept in concepts for parent in concept.within} - known
        known |= more
    return frozenset(known)


def _shares(of: npt.NDArray[np.bool_], sources: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the weights of pictures: presence weighs as much as absence, a source as the root of its size."""
    share = np.zeros(len(of))
    for side in (True, False):
        for source in np.unique(sources[of == side]):
            chosen = (of == side) & (sources == source)
            share[chosen] = chosen.sum() ** -0.5
    near = np.isin(sources, np.unique(sources[of]))
    for chosen, total in ((of, 1.0), (~of & near, 0.5), (~of & ~near, 0.5)):
        if share[chosen].sum():
            share[chosen] *= total / share[chosen].sum()
    return share


def _two(
    vectors: npt.NDArray[np.float64], of: npt.NDArray[np.bool_], share: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], float]:
    means = [(share[of == side] @ vectors[of == side]) / share[of == side].sum() for side in (False, True)]
    apart = (vectors - np.where(of[:, None], means[1], means[0])) * np.sqrt(share / share.sum())[:, None]
    spread = apart.T @ apart
    spread = (1 - FIRM) * spread + FIRM * np.trace(spread) / len(spread) * np.eye(len(spread))
    direction = np.linalg.solve(spread, means[1] - means[0])
    return direction, -float(direction @ (means[0] + means[1])) / 2


def _platt(
    logits: npt.NDArray[np.float64], of: npt.NDArray[np.bool_], share: npt.NDArray[np.float64]
) -> tuple[float, float]:
    from scipy.optimize import minimize

    def loss(ab: npt.NDArray[np.float64]) -> float:
        z = ab[0] * logits + ab[1]
        return float((share * (np.logaddexp(0, z) - of * z)).sum()) + 1e-4 * float(ab @ ab)

    slope, shift = minimize(loss, np.array([0.1, 0.0]), method="Nelder-Mead").x
    return float(slope), float(shift)


def _loss(logits: npt.NDArray[np.float64], of: npt.NDArray[np.int64]) -> float:
    logits = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(of)), of]).clip(max=8).mean())
