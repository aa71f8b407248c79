"""Linear heads over a model's embeddings: modality, body part and plane, from the labels of the training pairs.

Linear discriminant analysis with a shrunk covariance (Ledoit and Wolf 2004 give the idea; the shrinkage is fixed) and
equal priors: a closed form, so that refitting to another model takes no longer than a product. Its logits are too sure
of themselves; one temperature per attribute, by likelihood on the cases to fit with, corrects that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.search.senses import ATTRIBUTES, NEITHER, Head, classes

SHRINKAGE = 0.2
TEMPERATURES = (0.05, 0.08, 0.12, 0.18, 0.25, 0.35, 0.5)
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
        of, known = _numbers(rows, attribute, names)
        weights, offsets = discriminant(vectors[known], of[known], len(names))
        of, known = _numbers(held, attribute, names)
        logits = held_vectors[known] @ weights.T + offsets
        losses = [_loss(temperature * logits, of[known]) for temperature in TEMPERATURES]
        temperature = TEMPERATURES[int(np.argmin(losses))]
        offsets = np.maximum(temperature * offsets, ABSENT)
        heads[attribute] = Head((temperature * weights).astype(np.float32), offsets.astype(np.float32))
    return heads


def _numbers(
    rows: Sequence[Mapping[str, Any]], attribute: str, names: list[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
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


def _loss(logits: npt.NDArray[np.float64], of: npt.NDArray[np.int64]) -> float:
    logits = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(of)), of]).clip(max=8).mean())
