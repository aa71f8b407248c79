"""Reports that are stored as DICOM: structured reports (PS3.3 A.35) and encapsulated PDFs with a text layer (A.45).

A report is about a patient and often names one. Nothing here is read unless a library's owner asked for reports, and
no value reaches a message.
"""

import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from roco_search.errors import InputError, UnreadableImage
from roco_search.imaging.dicom.decoding.codecs import silence
from roco_search.imaging.dicom.values import items, raw_values, texts
from roco_search.imaging.sniff import HEAD, kind_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_BYTES = 64 * 2**20
MAX_PAGES = 200
MAX_TEXT = 200_000  # characters
MAX_DEPTH = 64  # of content items in one another
NO_PYPDF = "Encapsulated PDFs need the package pypdf; run pip install 'roco-search[reports]'."
_ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
# Text SR, Basic Text, Enhanced, Comprehensive, mammography and chest CAD, …; not logs, dose reports and key objects.
_KINDS = (1, 2, 3, 4, 11, 22, 33, 34, 35, 50, 65, 68, 69, 70)
_REPORTS = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{kind}" for kind in _KINDS)


class Report(NamedTuple):
    """The words of a report, and the UID of the study that it is about. Both identify a patient."""

    study_uid: str
    text: str


def read_report(path: str | os.PathLike[str]) -> Report | None:
    """Return the report in a DICOM file; None if the file is no report, or one without words or a study.

    Of a structured report these are its headings, texts, codes and measurements, in order; not the names of persons,
    dates and references that it has as such. Of a PDF it is the text layer.

    Raises
    ------
    UnreadableImage
        If the report is damaged or too large.
    InputError
        If pypdf, which reads PDFs, is not installed.
    """
    silence()
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a name that need not be UTF-8
            if kind_of(file.read(HEAD)) != "dicom":
                return None
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            return _read(file, size)
    except (UnreadableImage, InputError):
        raise
    except OSError:
        raise UnreadableImage("the system could not read the report; check the disk") from None
    except Exception:  # pydicom and pypdf raise nearly anything on a damaged file, and quote it.
        pass
    raise UnreadableImage("the report is damaged; export it again")


def _read(file: "io.BufferedReader", size: int) -> Report | None:
    from pydicom import dcmread

    head = dcmread(file, force=True, specific_tags=["SOPClassUID", "StudyInstanceUID"])
    kind, study = ((texts(head, keyword) or [""])[0] for keyword in ("SOPClassUID", "StudyInstanceUID"))
    if not study or (kind != _ENCAPSULATED_PDF and kind not in _REPORTS):
        return None
    if size > MAX_BYTES:
        raise UnreadableImage(f"the report is larger than {MAX_BYTES >> 20} MB")
    file.seek(0)
    dataset = dcmread(file, force=True)
    text = _pdf(dataset) if kind == _ENCAPSULATED_PDF else "\n".join(_structured(dataset, 0))
    # Half of a surrogate pair, or a NUL, could not be stored.
    text = text[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8").replace("\0", " ").strip()
    return Report(study, text) if text else None


def _structured(item: "Dataset", depth: int) -> Iterator[str]:
    """Yield a line for each content item, in the order of the document (PS3.3 C.17.3)."""
    name = _meaning(item, "ConceptNameCodeSequence")
    value = ""
    match (texts(item, "ValueType") or [""])[0]:
        case "TEXT":
            value = " ".join(texts(item, "TextValue"))
        case "CODE":
            value = _meaning(item, "ConceptCodeSequence")
        case "NUM":
            for measured in items(item, "MeasuredValueSequence"):
                number = " ".join(map(str, raw_values(measured, "NumericValue")))
                value = f"{number} {_meaning(measured, 'MeasurementUnitsCodeSequence')}".strip()
        case "CONTAINER":
            pass
        case _:  # PNAME, DATE, TIME, UIDREF, IMAGE, …: not words about the picture
            name = ""
    if name or value:
        yield f"{name}: {value}" if name and value else name or value
    if depth < MAX_DEPTH:
        for child in items(item, "ContentSequence"):
            yield from _structured(child, depth + 1)


def _meaning(item: "Dataset", keyword: str) -> str:
    return next((" ".join(texts(code, "CodeMeaning")) for code in items(item, keyword)), "")


def _pdf(dataset: "Dataset") -> str:
    try:
        import pypdf
    except ImportError:
        raise InputError(NO_PYPDF) from None
    content = b"".join(value for value in raw_values(dataset, "EncapsulatedDocument") if isinstance(value, bytes))
    reader = pypdf.PdfReader(io.BytesIO(content))
    found: list[str] = []
    for page in reader.pages[:MAX_PAGES]:
        found.append(page.extract_text())
        if sum(map(len, found)) > MAX_TEXT:
            break
    return "\n".join(found)
