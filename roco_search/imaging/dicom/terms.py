"""The defined terms of the standard that `Tags` accepts. A value that is not here is not stored.

``terms.json`` holds the standard's own tables. ``scripts/tables`` generates it from the copies that pydicom and
highdicom publish; nobody edits it. This file adds what files say and those copies lack, each group with its reason.
"""

import json
import re
from pathlib import Path

_SEPARATORS = re.compile(r"[\s_\-,]+")
_TABLES = json.loads(Path(__file__).with_name("terms.json").read_bytes())


def compact(text: str) -> str:
    """Return `text` as terms are compared: in capitals, without spaces, hyphens, underscores and commas."""
    return _SEPARATORS.sub("", text.upper())


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Newer in the standard than pydicom's copy of it.
_NEWER_MODALITIES = _words("RTINTENT RTRAD RTSEGANN XAPROTOCOL")
_NEWER_PHOTOMETRIC = _words("XYB")

MODALITIES = frozenset(_TABLES["modalities"]) | _NEWER_MODALITIES
"""Modality (0008,0060): PS3.3 C.7.3.1.1.1, with the retired terms that archives still hold."""

PHOTOMETRIC = frozenset(_TABLES["photometric_interpretations"]) | _NEWER_PHOTOMETRIC
"""Photometric Interpretation (0028,0004): PS3.3 C.7.6.3.1.2, with the retired ones."""

LATERALITIES = frozenset(_TABLES["lateralities"])
"""Laterality (0020,0060) and Image Laterality (0020,0062): CID 244."""

_UNLISTED_BODY_PARTS = _words(
    # Table L-1 names neither these limbs, bones, lobes and organs nor any part of a fetus; scanners write them.
    """ ANUS APEX ARM ATRIUM BODYCAVITY BONE GENITALIA LEG LEGS LLL LUL METACARPUS METATARSUS NASALBONE OROPHARYNX
    PITUITARY PLEURA RLL RUL SACRUM SINUS SKIN TARSUS VERTEBRA
    FETALABDOMEN FETALARM FETALHEAD FETALHEART FETALLEG FETALSPINE FETUS """
    # Other spellings of terms of Table L-1. They stay as they are written, as in the libraries that already hold them.
    """ COMMONILIACA DESCCOLON ENTIREBODY GREATSAPHV INTERNALCAROTID IVC MESENTERICA MESENTERICV """
)

BODY_PARTS = frozenset(_TABLES["body_parts"]) | _UNLISTED_BODY_PARTS
"""Body Part Examined (0018,0015): Table L-1 of PS3.16, and what files say beyond it."""

BODY_PART_ALIASES = {
    # The meanings in Table L-1: "Lumbar spine" is LSPINE.
    **{compact(meaning): term for term, meaning in _TABLES["body_parts"].items()},
    # What scanners and exporters write for the same thing.
    "ABD": "ABDOMEN",
    "ABDPEL": "ABDOMENPELVIS",
    "ABDPELVIS": "ABDOMENPELVIS",
    "CAP": "CHESTABDPELVIS",
    "CHESTABDOMENPELVIS": "CHESTABDPELVIS",
    "CHESTTOPELVIS": "CHESTABDPELVIS",
    "COLUMNA": "SPINE",
    "DORSALSPINE": "TSPINE",
    "HEADBRAIN": "BRAIN",
    "LOWEREXTREMITY": "LOWERLIMB",
    "UPPEREXTREMITY": "UPPERLIMB",
    "WHOLESPINE": "SPINE",
}
"""Compact texts that stand for a term. A text that is itself a term is never looked up here."""

_VIEW_CODES = {
    # PS3.3 C.8.1.5.1.2 (CR) and C.8.11.5.1.5 (DX), the ACR codes of CID 4014 (mammography), and what each means in CID
    # 4010 or 4014. No copy of the standard that can be imported has these codes.
    "AP": "antero-posterior",
    "PA": "postero-anterior",
    "LL": "left lateral",
    "RL": "right lateral",
    "LAO": "left anterior oblique",
    "RAO": "right anterior oblique",
    "LPO": "left posterior oblique",
    "RPO": "right posterior oblique",
    "CC": "cranio-caudal",
    "FB": "caudo-cranial",
    "ML": "medial-lateral",
    "LM": "latero-medial",
    "MLO": "medio-lateral oblique",
    "LMO": "latero-medial oblique",
    "SIO": "superolateral to inferomedial oblique",
    "ISO": "inferomedial to superolateral oblique",
    "XCCL": "cranio-caudal exaggerated laterally",
    "XCCM": "cranio-caudal exaggerated medially",
}
# Codes of views that these groups lack: decubitus and lateral oblique positions, and of the breast the exaggerated
# cranio-caudal view, cleavage and axillary tail.
_UNLISTED_VIEWS = _words("LLD RLD LLO RLO XCC CV AT")

VIEW_ALIASES = {compact(meaning): code for code, meaning in _VIEW_CODES.items()} | {"LAT": "LATERAL", "OBL": "OBLIQUE"}
"""Compact texts that stand for a view."""

VIEWS = frozenset(_VIEW_CODES) | _UNLISTED_VIEWS | (frozenset(map(compact, _TABLES["views"])) - VIEW_ALIASES.keys())
"""View Position (0018,5101): codes, and the views of CID 4010 and 4014 that have none, in their compact form."""
