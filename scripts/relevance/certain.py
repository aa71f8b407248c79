"""From where on a model is certain of the modality, body part or plane of a picture, by pictures that were left out.

A class is told from the nearest other one: the limit is the highest of those that `FALSE_ALARM` of the pictures of each
other class reach. For body parts and planes it is set for each modality, since chest CTs are near cardiac CTs, and not
chest films.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from heads import ABSENT, FOLDS, LEAST, LIKELIER, MODALITIES, class_numbers, discriminant

from roco_search.search.senses import ATTRIBUTES, NEITHER, Head, classes
from roco_search.search.weights import FALSE_ALARM

EVEN = -float(np.log(2))

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def certain_classes(
    rows: Sequence[Mapping[str, Any]], vectors: npt.NDArray[np.float32], heads: Mapping[str, Head]
) -> dict[str, list[float]]:
    """Return what `Weights.certain_classes` says; the temperatures are those of `heads`, which `rows` made."""
    found: dict[str, list[float]] = {}
    modalities = np.array([MODALITIES.get(row["modality"], "none") for row in rows])
    for attribute in ATTRIBUTES:
        names = list(classes(attribute))
        of, known = class_numbers(rows, attribute, names)
        chances = _left_out(rows, vectors, of, known, len(names), heads[attribute])
        for number, name in enumerate(names):
            if name == NEITHER[attribute]:
                continue
            for modality, among in _by_modality(attribute, modalities):
                present = known & among & (of == number)
                others = [known & among & (of == other) for other in range(len(names)) if other != number]
                limit = limit_of(chances[present, number], [chances[other, number] for other in others])
                if limit is not None:
                    found[f"{attribute}:{name}{modality and '@'}{modality}"] = [round(value, 5) for value in limit]
    return found


def limit_of(present: Floats, others: Sequence[Floats]) -> tuple[float, ...] | None:
    """Return the log-probability from which on a class is certain, and the share of all others that reach it.

    Nothing is certain that is not likelier than not. An empty limit is one that too few of the class reach, fewer than
    `LIKELIER` times as many; None is returned where there are too few pictures to tell.
    """
    others = [other for other in others if len(other) >= LEAST]
    if len(present) < LEAST or not others:
        return None
    least = max(EVEN, *(float(np.sort(other)[::-1][int(FALSE_ALARM * len(other))]) for other in others))
    if (present > least).mean() < LIKELIER * FALSE_ALARM:
        return ()
    reached, count = sum(int((other > least).sum()) for other in others), sum(map(len, others))
    return least, (reached + 1) / (count + 2)  # That none of so many reached it is not to say that none ever will.


def _by_modality(attribute: str, modalities: npt.NDArray[Any]) -> Iterator[tuple[str, Flags]]:
    yield "", np.ones(len(modalities), bool)
    if attribute != "modality":
        for modality in sorted(set(modalities.tolist()) - {"none"}):
            yield modality, modalities == modality


def _left_out(
    rows: Sequence[Mapping[str, Any]],
    vectors: npt.NDArray[np.float32],
    of: npt.NDArray[np.int64],
    known: Flags,
    count: int,
    head: Head,
) -> Floats:
    """Return the log-probabilities of the classes, float64 ``(n, count)``, by heads that did not see the case."""
    folds = np.array([zlib.crc32(str(row.get("group", row["file"])).encode()) % FOLDS for row in rows])
    weights, _ = discriminant(vectors[known], of[known], count)
    temperature = float(np.linalg.norm(head.weights) / np.linalg.norm(weights))
    found = np.zeros((len(rows), count))
    for fold in range(FOLDS):
        weights, offsets = discriminant(vectors[known & (folds != fold)], of[known & (folds != fold)], count)
        logits = temperature * (vectors[folds == fold] @ weights.T) + np.maximum(temperature * offsets, ABSENT)
        logits -= logits.max(axis=1, keepdims=True)
        found[folds == fold] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return found
