"""Files that the tests draw, and those that pydicom's wheel brings along."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless, generate_uid

from roco_search.imaging import Frame, open_image

# A name that must never come out of anything.
PATIENT = "Zebediah^Quuxington"
SHARED = Path(__file__).parents[2].parent / "shared"


def shipped(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str), f"pydicom's wheel no longer ships {name}"
    return Path(found)


def draw_dicom(
    path: Path,
    array: npt.NDArray[Any],
    *,
    syntax: UID = ExplicitVRLittleEndian,
    frames: list[bytes] | None = None,
    sop_class: str = CTImageStorage,
    **attributes: Any,
) -> Path:
    """Write grey (rows, columns) or (frames, rows, columns), or colour (rows, columns, 3) values as DICOM."""
    colour = array.shape[-1] == 3 and array.ndim == 3
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID(sop_class)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName = PATIENT
    dataset.Rows, dataset.Columns = array.shape[:2] if colour else array.shape[-2:]
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    if array.ndim == 3 and not colour:
        dataset.NumberOfFrames = len(array)
    dataset.BitsAllocated = array.dtype.itemsize * 8
    if array.dtype.kind == "f":
        keyword = "FloatPixelData" if array.dtype.itemsize == 4 else "DoubleFloatPixelData"
        setattr(dataset, keyword, array.tobytes())
    else:
        dataset.BitsStored = dataset.BitsAllocated
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(array.dtype.kind == "i")
        dataset.PixelData = encapsulate(frames) if frames else array.tobytes() + b"\0" * (array.nbytes % 2)
        dataset["PixelData"].VR = "OB" if frames or array.dtype.itemsize == 1 else "OW"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    if syntax.type == "Transfer Syntax":
        dataset.save_as(path, enforce_file_format=True)
        return path
    # One that pydicom does not know yet.
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.save_as(path, enforce_file_format=True)
    known, uid = (one.encode() + b"\0" * (len(one) % 2) for one in (JPEGLSLossless, syntax))
    old, new = (b"UI" + len(one).to_bytes(2, "little") + one for one in (known, uid))
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    return path


def only(path: Path, **options: Any) -> Frame:
    (frame,) = open_image(path, **options)
    return frame


def grey(frame: Frame) -> npt.NDArray[np.uint8]:
    """Return the one channel of a grey picture."""
    assert (frame.pixels[..., :1] == frame.pixels).all()
    return frame.pixels[..., 0]


def ramp(low: int = -1024, high: int = 3071, dtype: str = "int16") -> npt.NDArray[Any]:
    return np.linspace(low, high, 4096).round().astype(dtype).reshape(64, 64)
