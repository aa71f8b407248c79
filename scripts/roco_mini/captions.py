"""What may be said of each training image of roco-mini, from the columns of its row.

The label sources phrase one label in several ways: all phrasings of one label are true of each of its images, and each
finding alone is, too. Every image is also its modality, its body part and, where known, its plane, in the ways people
type that ("CXR", "Röntgen Knie"); a written caption that names an organ or a joint makes it an image of that as well.
What is true and not to be drawn has a weight of zero: where another image's caption says it, it is no negative.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from names import LIMBS, MODALITIES, SHORT, foreign, names, with_wider

from roco_search.datasets.pair import Pair

PLANES = ("axial", "coronal", "sagittal")
# The sources whose labels are findings; what stands among them that is none, and what a finding is called in full.
FINDINGS_OF = {"nih_cxr14", "tb_cxr", "nih_talo", "kermany_cxr", "covid_cxnet", "hannover_covid", "brain_tumor_mri",
               "ctich_head", "dental_pano", "bone_break_xr", "scoliosis_xr", "periapical_xr", "knee_oa"}  # fmt: skip
NORMAL = ("normal", "no finding", "normal knee", "no tumor", "no hemorrhage", "no visible abnormality")
NO_FINDING = {
    "AP",
    "PA",
    "ICU",
    "panoramic",
    "periapical",
    "pediatric",
    "KL0",
    "KL1",
    "KL2",
    "KL3",
    "KL4",
    "spine",
    *LIMBS,
}
SAID = {"effusion": "pleural effusion", "edema": "pulmonary edema", "hernia": "hiatal hernia", "nodule": "lung nodule",
        "mass": "lung mass", "infiltration": "pulmonary infiltrate", "fibrosis": "pulmonary fibrosis",
        "cavity": "dental cavity", "implant": "dental implant", "fillings": "dental fillings"}  # fmt: skip
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
        findings = set(finding_captions(pair))
        _share(weights, own, 0.5 if findings else 0.7)
        _share(weights, findings, 0.2)
    else:
        weights[pair.caption] += 0.3
        _share(weights, _sentences(pair.caption), 0.1)
        _share(weights, _with_words_left_out(pair.caption), 0.1)
        if title := pair.columns.get("title"):
            weights[title] += 0.05
            _share(weights, {f"{view} showing {title}" for view in _views(pair)}, 0.1)
        if of_case := pair.columns.get("case_findings"):
            _share(weights, _sentences(of_case), 0.1)
        _share(weights, set(organ_captions(pair)) or set(generic_captions(pair)), 0.1)
    part, *wider = with_wider(pair.columns["body_part"])
    _share(weights, set(generic_captions(pair)), 0.2)
    _share(weights, set(foreign(pair.columns["modality"], part)), 0.05)
    _share(weights, {caption for other in wider for caption in generic_captions(pair, other)}, 0.03)
    _share(weights, {f"{caption}." for caption in weights if not caption.endswith(".")}, 0.0)
    return dict(weights)


def generic_captions(pair: Pair, part: str | None = None) -> Iterable[str]:
    """Modality and body part in the words of people who search: "chest X-ray", "axial CT of the abdomen"."""
    part = part or pair.columns["body_part"]
    place, *others = names(part)
    for modality in MODALITIES[pair.columns["modality"]]:
        yield f"{modality} of the {place}"
        for name in (place, *others):
            yield f"{name} {modality}"
        for plane in _planes(pair):
            yield f"{plane} {others[0] if others else place} {modality}"
            yield f"{plane} {modality} of the {place}"
    yield from SHORT.get((pair.columns["modality"], part), ())
    if pair.columns["source"] == "medpix2":
        # "MR - T1W w/Gadolinium" -> "T1W w/Gadolinium"; the plane and the part make it a phrase.
        sequence = pair.columns["labels"][0].partition(" - ")[2]
        for plane in _planes(pair):
            yield f"{plane} {sequence or pair.columns['modality']} {place}"
        # How MedPix itself describes an image whose author wrote nothing.
        yield f"{pair.columns['labels'][0]}, {pair.columns['labels'][1].lower()} view, {pair.columns['labels'][2]}"


def finding_captions(pair: Pair) -> Iterable[str]:
    """Each finding of a label source alone, of several in a label: "pneumothorax", "chest X-ray with pneumothorax"."""
    columns = pair.columns
    if columns["source"] not in FINDINGS_OF:
        return
    modality, place = MODALITIES[columns["modality"]][0], names(columns["body_part"])
    view = f"{place[1] if len(place) > 1 and columns['body_part'] != 'chest' else place[0]} {modality}"
    for label in columns["labels"]:
        finding = SAID.get(label, label)
        if finding in NORMAL:
            yield from (f"normal {view}", f"{view}, normal", f"{view} without abnormality")
        elif finding not in NO_FINDING:
            if finding.endswith(" fracture"):
                yield from ("fracture", f"{view} with a fracture")
            yield from (finding, f"{view} with {finding}", f"{finding} on {modality}", f"{view} showing {finding}")


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
    """The plane of a slice, as MedPix's column, a label or a label's own phrase states it."""
    columns = pair.columns
    if columns["modality"] not in ("CT", "MR"):
        return []
    said = {str(label).lower() for label in columns["labels"]}
    if columns["text_kind"] == "label":
        said |= set(re.findall(r"\w+", pair.caption.lower()))
    return [p for p in PLANES if p in said or (p == "axial" and "transverse" in said)]


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
