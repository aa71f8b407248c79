"""What may be said of each training image of roco-mini, from the columns of its row.

The label sources phrase one label in several ways: all phrasings of one label are true of each of its images.
Every image is also its modality, its body part and, where known, its plane; a written caption that names an organ or a
joint makes it an image of that as well, in the words of somebody who searches: "MRI of the knee".
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from roco_search.datasets.pair import Pair

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
# Organs and joints, and how captions write them; no word that is also the name of a plain finding or of a sequence.
ORGANS = {
    "knee": r"knees?|menisc\w+|patella\w*|cruciate",
    "shoulder": r"shoulders?|rotator cuff|glenoid|supraspinatus|labrum",
    "ankle": r"ankles?|talus|talar|calcane\w+|achilles",
    "foot": r"foot|feet|metatars\w+|plantar",
    "hip": r"hips?|acetabul\w+|femoral head|trochanter\w*",
    "wrist": r"wrists?|carpal|scaphoid|lunate",
    "elbow": r"elbows?|olecranon",
    "thigh": r"thighs?|femur|femoral shaft",
    "liver": r"liver|hepatic",
    "kidney": r"kidneys?|renal|nephro\w+",
    "pancreas": r"pancrea\w+",
    "spleen": r"spleen|splenic",
    "bowel": r"bowel|colon\w*|ileum|jejun\w+|cecum|appendi\w+",
    "stomach": r"stomach|gastric",
    "bladder": r"(?<!gall)bladder|urinary bladder",
    "uterus": r"uter(?:us|ine)",
    "ovary": r"ovar\w+|adnex\w+",
    "prostate": r"prostat\w+",
    "lung": r"lungs?|pulmonary|lobe nodule|pleura\w*",
    "mediastinum": r"mediastin\w+",
    "aorta": r"aort\w+",
    "cervical spine": r"cervical spin\w+|cervical cord|C[2-7]\b",
    "lumbar spine": r"lumbar|L[1-5]\b|lumbosacral",
    "thoracic spine": r"thoracic spin\w+|thoracic cord|T1[0-2]\b",
    "sacrum": r"sacr(?:um|al)",
    "pituitary": r"pituitary|sell(?:a|ar)|suprasellar",
    "cerebellum": r"cerebell\w+|posterior fossa",
    "brainstem": r"brainstem|brain stem|pons|pontine|medulla|midbrain",
    "ventricles of the brain": r"lateral ventricles?|third ventricle|fourth ventricle|hydroceph\w+",
    "sinuses": r"(?:maxillary|ethmoid|sphenoid|frontal|paranasal) sinus\w*",
    "neck": r"neck|thyroid|parotid|larynx|pharyn\w+",
    "temporal bone": r"temporal bone|mastoid|cochlea\w*|middle ear",
}
_ORGANS = {organ: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for organ, words in ORGANS.items()}


def with_captions(pairs: Sequence[Pair]) -> list[Pair]:
    """Give each pair every caption that is true of it, weighted.

    A written caption has versions without some of its words, and its diagnosis comes in phrases with what the image is:
    one of 1,100 captions is soon known by its first words.
    """
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
        weights[pair.caption] += 0.3
        _share(weights, _sentences(pair.caption), 0.1)
        _share(weights, _with_words_left_out(pair.caption), 0.1)
        if title := pair.columns.get("title"):
            weights[title] += 0.05
            _share(weights, {f"{view} showing {title}" for view in _views(pair)}, 0.1)
        if findings := pair.columns.get("case_findings"):
            _share(weights, _sentences(findings), 0.1)
    _share(weights, set(generic_captions(pair)), 0.15)
    _share(weights, set(organ_captions(pair)) or set(generic_captions(pair)), 0.1)
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
        # How MedPix itself describes an image whose author wrote nothing.
        yield f"{pair.columns['labels'][0]}, {pair.columns['labels'][1].lower()} view, {pair.columns['labels'][2]}"


def organ_captions(pair: Pair) -> Iterable[str]:
    """The organs and joints that a written caption names: "MRI of the knee", "sagittal knee MRI"."""
    if pair.columns["text_kind"] != "written":
        return
    for organ, words in _ORGANS.items():
        if words.search(pair.caption) or words.search(pair.columns.get("title") or ""):
            for modality in MODALITIES[pair.columns["modality"]]:
                yield f"{modality} of the {organ}"
                yield f"{organ} {modality}"
                yield from (f"{plane} {organ} {modality}" for plane in _planes(pair))


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


def _views(pair: Pair) -> Iterable[str]:
    return (caption for caption in generic_captions(pair) if " view," not in caption)


def _with_words_left_out(text: str, versions: int = 4, rate: float = 0.25) -> set[str]:
    """Versions of a text without some of its words; the same ones for every image with this text."""
    random = np.random.default_rng(zlib.crc32(text.encode()))
    kept = (" ".join(word for word in text.split() if random.random() >= rate) for _ in range(versions))
    return {version for version in kept if version} or {text}


def _share(weights: dict[str, float], captions: set[str], total: float) -> None:
    for caption in sorted(captions):
        weights[caption] += total / len(captions)
