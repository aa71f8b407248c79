"""DICOM copies that name nobody: the Basic Application Level Confidentiality Profile of PS3.15 Annex E, and more.

The profile's table (E.1-1) and its actions come from the package dicom-anonymizer, which publishes each edition of it.
dicognito was no choice, since it keeps private elements, descriptions and comments; deid has recipes, not the table.

The profile keeps whatever it does not list, and dicom-anonymizer looks only at the top of a dataset. Here its actions
reach every item of every sequence, and what is left has to be harmless by its kind: numbers, UIDs (replaced unless the
standard registers them), and defined terms. Free text, times, private elements, overlays, and bytes that are no pixels
are removed, listed or not.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roco_search import __version__
from roco_search.errors import InputError, UnreadableImage
from roco_search.imaging import Tags
from roco_search.imaging.archives import Member
from roco_search.imaging.dicom import terms
from roco_search.imaging.dicom.decoding.codecs import silence
from roco_search.imaging.dicom.decoding.codestream import without_comments
from roco_search.imaging.dicom.tags import NEWER_SYNTAXES, read_tags

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

    from roco_search.curation.cohorts.masking import Rewritten

EDITION = "2026c"
METHOD = f"PS3.15 {EDITION} Basic Profile, free text removed; roco {__version__}"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TEXT = _words("AE AS DA DT LO LT PN SH ST TM UC UR UT")
_BYTES = _words("OB OD OF OL OV OW UN")
_PIXELS = frozenset(
    {0x7FE00008, 0x7FE00009, 0x7FE00010, 0x00283006}  # pixel data; LUT data
    | {0x00281201, 0x00281202, 0x00281203, 0x00281204, 0x00281221, 0x00281222, 0x00281223, 0x00281224}  # palettes
)
_REPEATING = (0x50, 0x60)  # curves and overlays, which the profile removes
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_ORIENTATION = re.compile(r"[APRLHF]{1,3}")  # PS3.3 C.7.6.1.1.1
_RESCALE_TYPE = 0x00281054
_UNITS = _words("HU US OD MGML Z_EFF ED EDW HU_MOD PCT HU_EFF")  # PS3.3 C.11.1.1.2
# Image Type, Patient Position, and what else describes pixels and how they are shown: PS3.3 C.7.3, C.7.6, C.8, C.11.
_TERMS = terms.MODALITIES | terms.BODY_PARTS | terms.VIEWS | terms.LATERALITIES | terms.PHOTOMETRIC
_TERMS |= _words(
    "ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER OTHER MIXED NONE RESAMPLED PROJECTION VOLUME MPR REFORMATTED "
    "YES NO Y N 00 01 HFS HFP HFDR HFDL FFS FFP FFDR FFDL LINEAR LINEAR_EXACT SIGMOID LIN LOG DISP IDENTITY INVERSE "
    "DV DI DF WSD SD SI DRW SYN GRAY RGB COLOR MONOCHROME TRUE_COLOR ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_13818_1 "
    "M F O POSITIVE NEGATIVE MAGNITUDE PHASE REAL IMAGINARY 2D 3D SE IR GR EP RM SK SS MP SP OSP WHOLE SINGLE BIPLANE "
    "RECTANGLE ROUND HEXAGONAL ROTATION CEPHALOMETRIC STATIC DYNAMIC GATED TOMO RECON EMISSION"
)
_TERMS |= {"FOR PRESENTATION", "FOR PROCESSING", "SINGLE PLANE", "BIPLANE A", "BIPLANE B", "WHOLE BODY", "RECON TOMO"}

Action = Callable[["Dataset", tuple[int, int]], None]


def check_deidentify() -> None:
    """Raise `InputError` unless the package with the standard's table is installed."""
    try:
        import dicomanonymizer  # noqa: F401
    except ImportError:
        raise InputError(
            "De-identifying needs the package dicom-anonymizer, which is not installed; run `pip install "
            "'roco-search[deidentify]'`."
        ) from None


class Deidentifier:
    """Makes copies of DICOM files that belong together: equal UIDs and patients stay equal, under new names.

    The new ones are random, and what they stand for is forgotten with the object.
    """

    def __init__(self) -> None:
        check_deidentify()
        self._uids: dict[str, str] = {}
        self._patients: dict[str, str] = {}

    def copy(self, source: Path | Member, target: Path, pixels: Rewritten | None = None) -> Tags:
        """Write a copy that names nobody, with its own pixels or others; return what its header still says.

        Raises
        ------
        UnreadableImage
            If the file cannot be read as DICOM, or not be written again. Its message quotes nothing.
        OSError
            If the target cannot be written.
        """
        from pydicom import dcmread
        from pydicom.filebase import DicomBytesIO

        refusal: UnreadableImage
        try:
            silence()
            with source.open("rb") as file:
                dataset = dcmread(file, force=True)
                tags = self._rid(dataset)
                if pixels is not None:
                    pixels.put_into(dataset)
                written = DicomBytesIO()
                dataset.save_as(written, enforce_file_format=True)
            content = written.getvalue()
        except MemoryError:
            raise
        except Exception:  # of nearly any kind, with the value that it met in the message
            refusal = UnreadableImage("its header cannot be copied without what may name the patient; leave it out")
        else:
            target.write_bytes(content)
            return tags
        refusal.__context__ = None
        raise refusal

    def _rid(self, dataset: Dataset) -> Tags:
        from pydicom.dataset import Dataset as New
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import UID

        syntax = _syntax_of(dataset)
        patient = self._patient(dataset)
        sop_class = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
        self._clean(dataset)
        dataset.SOPClassUID = sop_class
        if UID(syntax).is_encapsulated:
            _clean_frames(dataset)
        if "SOPInstanceUID" not in dataset or not dataset.SOPInstanceUID:
            dataset.SOPInstanceUID = _new_uid()
        dataset.PatientID = dataset.PatientName = patient
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = METHOD
        code = New()
        code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
        code.CodeMeaning = "Basic Application Confidentiality Profile"
        dataset.DeidentificationMethodCodeSequence = [code]
        dataset.LongitudinalTemporalInformationModified = "REMOVED"
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = UID(syntax)
        meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.file_meta, dataset.preamble = meta, bytes(128)
        return read_tags(dataset, syntax)

    def _patient(self, dataset: Dataset) -> str:
        """Return the new name of a patient; a file that names none belongs to that of its study."""
        said = [str(dataset.get(keyword) or "") for keyword in ("PatientID", "IssuerOfPatientID")]
        key = "\0".join(said) if said[0] else f"study {dataset.get('StudyInstanceUID')}"
        return self._patients.setdefault(key, f"roco-{secrets.token_hex(6)}")

    def _clean(self, dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            try:
                element = dataset[tag]
            except Exception:  # See `imaging.dicom.values`: nearly anything comes out of an ill-formed value.
                del dataset[tag]
                continue
            if tag.is_private or tag.group >> 8 in _REPEATING or tag.element == 0 or not self._stays(dataset, element):
                del dataset[tag]

    def _stays(self, dataset: Dataset, element: DataElement) -> bool:
        """Clean an element; whether it may stay."""
        action = _actions().get((element.tag.group, element.tag.element))
        if action is not None and action.__name__ == "delete":
            return False
        if element.VR == "UI":
            return self._replace_uids(element)
        if element.VR == "SQ":
            if action is not None and "UID" not in action.__name__:
                return False
            for item in element.value:
                self._clean(item)
            return any(len(item) for item in element.value)
        if action is not None:
            if element.VR in _BYTES or element.VR == "AT":  # for which the package knows no dummy
                return False
            action(dataset, (element.tag.group, element.tag.element))
            return element.tag in dataset
        return _is_harmless(element)

    def _replace_uids(self, element: DataElement) -> bool:
        values = list(element.value) if element.VM > 1 else [element.value]
        new = [text if _is_registered(text) else self._uids.setdefault(text, _new_uid()) for text in map(str, values)]
        if not any(map(str, values)):
            return True
        element.value = new if len(new) > 1 else new[0]
        return True


def _syntax_of(dataset: Dataset) -> str:
    """Return the transfer syntax of a file, from its own bytes where it declares none."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if declared := dataset.file_meta.get("TransferSyntaxUID"):
        return str(declared)
    implicit, little = dataset.original_encoding
    return str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian)


def _clean_frames(dataset: Dataset) -> None:
    """Remove comments from compressed frames; where there are none, nothing changes."""
    from pydicom.encaps import encapsulate, generate_frames

    frames = list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1)))
    cleaned = [without_comments(frame) for frame in frames]
    if cleaned != frames:
        dataset.PixelData = encapsulate(cleaned)


def _is_harmless(element: DataElement) -> bool:
    """Whether an element that the profile does not list cannot hold a word of anybody's."""
    if element.VR in _BYTES or " or " in element.VR:
        return int(element.tag) in _PIXELS
    values = [str(value) for value in (element.value if element.VM > 1 else [element.value]) if value is not None]
    if element.VR in {"DS", "IS"}:
        return all(_NUMBER.fullmatch(str(getattr(value, "original_string", value))) for value in values)
    if element.VR == "CS":
        return all(text in _TERMS or not text or _ORIENTATION.fullmatch(text) for text in values)
    if int(element.tag) == _RESCALE_TYPE:
        return all(text in _UNITS for text in values)
    return element.VR not in _TEXT


def _is_registered(text: str) -> bool:
    from pydicom.uid import UID, UID_dictionary

    return text in NEWER_SYNTAXES or UID(text, 0) in UID_dictionary


def _new_uid() -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(prefix=None))  # 2.25 and a random UUID (PS3.5 B.2)


@cache
def _actions() -> dict[tuple[int, ...], Action]:
    from dicomanonymizer.simpledicomanonymizer import initialize_actions

    actions: dict[tuple[int, ...], Any] = initialize_actions(f"dicomfields_{EDITION}")
    return actions
