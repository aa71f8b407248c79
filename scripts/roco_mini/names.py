"""What people call a modality and a part of the body, in English, German, Spanish and French: data only.

Every image of a class may be called by each name of its class and of the wider ones: a wrist is a joint as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MODALITIES: Mapping[str, Sequence[str]] = {
    "XR": ("X-ray", "radiograph", "plain film", "xray", "XR"),
    "CT": ("CT", "computed tomography", "CT scan"),
    "MR": ("MRI", "magnetic resonance imaging", "MR image", "MR"),
    "US": ("ultrasound", "sonogram", "ultrasonography", "US"),
    "MG": ("mammogram", "mammography", "MG"),
    "NM": ("scintigraphy", "nuclear medicine scan", "scintigram"),
    "PET": ("PET", "positron emission tomography", "FDG PET scan"),
    "OTHER": ("angiogram", "X-ray angiography", "angiography"),
}
# The first name stands behind "of the"; the others, and the first, before a modality. The first two are said most.
PARTS: Mapping[str, Sequence[str]] = {
    "heart": ("heart", "cardiac", "coronary"),
    "chest": ("chest", "thoracic", "thorax"),
    "lung": ("lung", "pulmonary", "lungs"),
    "abdomen": ("abdomen", "abdominal"),
    "liver": ("liver", "hepatic"),
    "kidney": ("kidney", "renal", "kidneys"),
    "pelvis": ("pelvis", "pelvic"),
    "prostate": ("prostate", "prostatic"),
    "breast": ("breast", "mammary"),
    "fetus": ("fetus", "fetal", "obstetric"),
    "spine": ("spine", "spinal", "vertebral column"),
    "brain": ("brain", "cerebral"),
    "head": ("head", "cranial", "skull"),
    "head and neck": ("head and neck", "neck"),
    "neck": ("neck", "cervical soft tissue"),
    "orbit": ("orbit", "orbital"),
    "teeth": ("teeth", "dental", "tooth"),
    "musculoskeletal": ("bones and joints", "musculoskeletal", "bone"),
    "leg": ("leg", "lower leg"),
}
LIMBS = (
    "knee",
    "hand",
    "wrist",
    "humerus",
    "tibia",
    "hip",
    "fibula",
    "femur",
    "forearm",
    "ankle",
    "leg",
    "elbow",
    "foot",
)
# What an image of a part is an image of as well. Its names are true of it and are said less often.
WIDER: Mapping[str, Sequence[str]] = {
    "lung": ("chest",),
    "liver": ("abdomen",),
    "kidney": ("abdomen",),
    "prostate": ("pelvis",),
    "chest": ("lung",),  # a film or a slice of the chest is one of the lungs
    "brain": ("head",),
    "head": ("brain",),  # data sets call the same slice by either
    "orbit": ("head",),
    "neck": ("head and neck",),
    **dict.fromkeys(LIMBS, ("musculoskeletal",)),
}
# How people abbreviate, or call by one word, what is both a modality and a part.
SHORT: Mapping[tuple[str, str], Sequence[str]] = {
    ("XR", "chest"): ("CXR", "chest film", "chest radiograph", "frontal chest X-ray"),
    ("XR", "teeth"): ("dental radiograph", "radiograph of the teeth"),
    ("XR", "hand"): ("hand radiograph", "X-ray of a hand"),
    ("XR", "knee"): ("knee film", "X-ray of the knee joint"),
    ("XR", "spine"): ("spine film", "X-ray of the vertebral column"),
    ("XR", "musculoskeletal"): ("bone X-ray", "skeletal radiograph", "X-ray of an extremity", "limb radiograph"),
    ("OTHER", "heart"): ("coronary angiogram", "coronary angiography", "cardiac catheterization"),
    ("MG", "breast"): ("mammogram", "mammography", "screening mammogram"),
    ("US", "fetus"): ("obstetric ultrasound", "prenatal ultrasound", "fetal ultrasound"),
    ("US", "heart"): ("echocardiogram",),
    ("US", "lung"): ("lung ultrasound", "LUS"),
    ("US", "neck"): ("thyroid and neck ultrasound",),
    ("NM", "kidney"): ("renal scintigraphy", "renogram", "kidney scan"),
    ("MR", "brain"): ("brain MRI", "MRI brain", "cranial MRI"),
    ("CT", "head"): ("head CT", "CT head", "CCT", "cranial CT"),
    ("CT", "brain"): ("head CT", "CT head", "CCT", "cranial CT"),
    ("CT", "chest"): ("CT chest", "CT thorax", "thoracic CT"),
    ("CT", "abdomen"): ("CT abdomen", "abdominal CT"),
    ("MR", "heart"): ("CMR", "cardiac MRI"),
}
# Modality and part as typed, and where the part stands: German and French put them side by side, Spanish joins by "de".
LANGUAGES: Mapping[str, Mapping[str, tuple[Sequence[str], Sequence[str], Sequence[str]]]] = {
    "modality": {
        "XR": (("Röntgen", "Röntgenbild"), ("radiografía", "rayos X"), ("radiographie", "radio")),
        "CT": (("CT", "Computertomographie"), ("TC", "tomografía"), ("scanner", "TDM")),
        "MR": (("MRT", "Kernspintomographie"), ("resonancia magnética", "RM"), ("IRM",)),
        "US": (("Ultraschall", "Sonographie"), ("ecografía", "ultrasonido"), ("échographie",)),
        "MG": (("Mammographie",), ("mamografía",), ("mammographie",)),
        "NM": (("Szintigraphie",), ("gammagrafía",), ("scintigraphie",)),
        "PET": (("PET",), ("PET",), ("TEP",)),
        "OTHER": (("Angiographie",), ("angiografía",), ("angiographie",)),
    },
    "part": {
        "heart": (("Herz", "Koronar"), ("corazón", "coronarias"), ("cœur", "coronaire")),
        "chest": (("Thorax", "Brustkorb"), ("tórax",), ("thorax", "poumons")),
        "lung": (("Lunge",), ("pulmón",), ("poumon",)),
        "abdomen": (("Abdomen", "Bauch"), ("abdomen",), ("abdomen",)),
        "liver": (("Leber",), ("hígado",), ("foie",)),
        "kidney": (("Niere", "Nieren"), ("riñón",), ("rein",)),
        "pelvis": (("Becken",), ("pelvis",), ("bassin",)),
        "prostate": (("Prostata",), ("próstata",), ("prostate",)),
        "breast": (("Brust", "Mamma"), ("mama",), ("sein",)),
        "fetus": (("Fetus", "Schwangerschaft"), ("feto", "embarazo"), ("fœtus", "grossesse")),
        "spine": (("Wirbelsäule",), ("columna",), ("rachis", "colonne")),
        "brain": (("Gehirn", "Kopf"), ("cerebro",), ("cerveau",)),
        "head": (("Kopf", "Schädel"), ("cabeza", "cráneo"), ("tête", "crâne")),
        "head and neck": (("Kopf Hals",), ("cabeza y cuello",), ("tête et cou",)),
        "neck": (("Hals",), ("cuello",), ("cou",)),
        "orbit": (("Orbita",), ("órbita",), ("orbite",)),
        "teeth": (("Zähne", "Zahn"), ("dientes",), ("dents", "dentaire")),
        "musculoskeletal": (("Knochen",), ("hueso",), ("os",)),
        "knee": (("Knie",), ("rodilla",), ("genou",)),
        "hand": (("Hand",), ("mano",), ("main",)),
        "wrist": (("Handgelenk",), ("muñeca",), ("poignet",)),
        "hip": (("Hüfte",), ("cadera",), ("hanche",)),
        "elbow": (("Ellenbogen",), ("codo",), ("coude",)),
        "ankle": (("Sprunggelenk",), ("tobillo",), ("cheville",)),
        "foot": (("Fuß",), ("pie",), ("pied",)),
        "femur": (("Oberschenkel",), ("fémur",), ("fémur",)),
        "humerus": (("Oberarm",), ("húmero",), ("humérus",)),
        "tibia": (("Schienbein",), ("tibia",), ("tibia",)),
        "forearm": (("Unterarm",), ("antebrazo",), ("avant-bras",)),
        "leg": (("Unterschenkel",), ("pierna",), ("jambe",)),
    },
}


def names(part: str) -> Sequence[str]:
    """Return the names of a part in English, the one that stands behind "of the" first."""
    return PARTS.get(part, (part,))


def with_wider(part: str) -> list[str]:
    """Return a part and those it belongs to."""
    return [part, *WIDER.get(part, ())]


def foreign(modality: str, part: str) -> list[str]:
    """Return what German, Spanish and French speakers type for a modality of a part."""
    found: list[str] = []
    parts = LANGUAGES["part"].get(part)
    if parts is None:
        return found
    for language, (kinds, places) in enumerate(zip(LANGUAGES["modality"][modality], parts, strict=True)):
        for kind in kinds:
            for place in places:
                found += [f"{kind} de {place}"] if language == 1 else [f"{kind} {place}", f"{place} {kind}"]
    return found


def plain_query(modality: str, part: str) -> str:
    """Return what somebody types for a class: "chest X-ray", "dental X-ray", "mammogram"."""
    said = {
        ("MG", "breast"): "mammogram",
        ("OTHER", "heart"): "coronary angiogram",
        ("US", "fetus"): "fetal ultrasound",
    }
    adjective = part in ("abdomen", "heart", "teeth", "kidney", "pelvis", "musculoskeletal")
    name = names(part)[1 if adjective else 0]
    return said.get((modality, part), f"{name} {MODALITIES[modality][0]}")
