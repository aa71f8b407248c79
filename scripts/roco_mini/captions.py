"""What may be said of each training image of roco-mini, from the columns of its row.

The label sources phrase one label in several ways: all phrasings of one label are true of each of its images.
Every image is also its modality, its body part and, where known, its plane.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from roco_search.pairs.pair import Pair

MODALITIES = {
    "XR": ("X-ray", "radiograph", "plain film"),
    "CT": ("CT", "computed tomography", "CT scan"),
    "MR": ("MRI", "magnetic resonance imaging", "MR image"),
    "US": ("ultrasound", "sonogram", "ultrasonography"),
    "OTHER": ("angiogram", "X-ray angiography", "angiography"),
}
BODY_PARTS = {
    "heart": ("heart", "cardiac", "coronary"),
    "abdomen": ("abdomen", "abdominal"),
    "pelvis": ("pelvis", "pelvic"),
    "spine": ("spine", "spinal"),
    "musculoskeletal": ("musculoskeletal", "bones and joints"),
    "orbit": ("orbit", "orbital"),
}
PLANES = ("axial", "coronal", "sagittal")


def with_captions(pairs: Sequence[Pair]) -> list[Pair]:
    """Give each pair every caption that is true of it, weighted."""
    phrasings: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for pair in pairs:
        if pair.columns["text_kind"] == "label":
            phrasings[label_key(pair)].add(pair.caption)
    return [replace(pair, captions=_captions(pair, phrasings)) for pair in pairs]


def _captions(pair: Pair, phrasings: dict[tuple[object, ...], set[str]]) -> dict[str, float]:
    weights: dict[str, float] = defaultdict(float)
    if pair.columns["text_kind"] == "label":
        own = phrasings[label_key(pair)]
        _share(weights, own, 0.75)
    else:
        weights[pair.caption] += 0.55
        if title := pair.columns.get("title"):
            weights[title] += 0.1
        if findings := pair.columns.get("case_findings"):
            _share(weights, _sentences(findings), 0.1)
    _share(weights, set(generic_captions(pair)), 0.25)
    return dict(weights)


def generic_captions(pair: Pair) -> Iterable[str]:
    """Modality and body part in the words of people who search: "chest X-ray", "axial CT of the abdomen"."""
    part = pair.columns["body_part"]
    names = BODY_PARTS.get(part, (part,))
    for modality in MODALITIES[pair.columns["modality"]]:
        yield f"{modality} of the {names[0]}"
        for name in names[-2:]:
            yield f"{name} {modality}"
        yield from (f"{plane} {names[-1]} {modality}" for plane in _planes(pair))
    if pair.columns["source"] == "medpix2":
        # "MR - T1W w/Gadolinium" -> "T1W w/Gadolinium"; the plane and the part make it a phrase.
        sequence = pair.columns["labels"][0].partition(" - ")[2]
        for plane in _planes(pair):
            yield f"{plane} {sequence or pair.columns['modality']} {names[0]}"


def _planes(pair: Pair) -> list[str]:
    if pair.columns["source"] != "medpix2":
        return []
    plane = str(pair.columns["labels"][1]).lower()
    return [p for p in PLANES if p == plane or (p == "axial" and plane == "transverse")]


def label_key(pair: Pair) -> tuple[object, ...]:
    columns = pair.columns
    return columns["source"], tuple(columns["labels"]), columns["modality"], columns["body_part"]


def _sentences(text: str) -> set[str]:
    parts = (part.strip(" \n•»*-") for part in re.split(r"(?<=[.;])\s+|[•»\n]", text))
    return {part for part in parts if len(part.split()) >= 3} or {text.strip()}


def _share(weights: dict[str, float], captions: set[str], total: float) -> None:
    for caption in sorted(captions):
        weights[caption] += total / len(captions)
