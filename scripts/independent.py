"""What an independent reader, highdicom, makes of real DICOM files, as small thumbnails that a test compares ours with.

    python scripts/independent.py SCANS > tests/imaging/independent.json

SCANS is a folder of DICOM files; those that pydicom ships are taken as well. highdicom decodes with pydicom's own
plugins, so install pylibjpeg-openjpeg, pyjpegls and python-gdcm beside it, none of which roco uses. Files that it does
not read are left out, and grey ones without a window, for which there is no picture but a reader's own choice.
"""

from __future__ import annotations

import base64
import json
import sys
import warnings
from pathlib import Path

import highdicom
import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_files

SIDE = 12
# Where the codestream contradicts the header, and we follow the codestream: chrominance that is subsampled cannot be
# RGB, and a sign in the codestream is a sign.
CONTRADICTORY = {"pylibjpeg_data/SC_rgb_jpeg_lossy_gdcm.dcm", "pylibjpeg_data/TOSHIBA_J2K_SIZ1_PixRep0.dcm"}
_WINDOWS = ("WindowCenter", "VOILUTSequence", "SharedFunctionalGroupsSequence")


def main() -> None:
    warnings.simplefilter("ignore")
    scans = sorted(path for path in Path(sys.argv[1]).rglob("*") if path.is_file())
    found = {}
    for path in [*scans, *sorted(map(Path, get_testdata_files()))]:
        name = "/".join(path.parts[-2:])
        if name in CONTRADICTORY or "dicomdirtests" in path.parts:
            continue
        try:
            picture = render(path)
        except Exception:  # it reads fewer kinds of files, and says so in many ways
            continue
        if picture is not None:
            grey = picture.ndim == 2
            small = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX))
            found[name] = {"grey": grey, "thumbnail": base64.b85encode(small.tobytes()).decode()}
    print(json.dumps(found, indent=0))


def render(path: Path) -> np.ndarray | None:
    """Return the middle frame, uint8 grey ``(rows, columns)`` or RGB ``(rows, columns, 3)``; None without a window."""
    dataset = dcmread(path)
    image = highdicom.Image.from_dataset(dataset, copy=False)
    grey = dataset.PhotometricInterpretation.startswith("MONO")
    if "Segment" in dataset.SOPClassUID.name:
        return None  # no picture
    if grey and not any(keyword in dataset for keyword in _WINDOWS):
        return None
    number = int(dataset.get("NumberOfFrames", 1) or 1) // 2 + 1
    shown = image.get_frame(
        number,
        apply_voi_transform=None if grey else False,
        voi_output_range=(0, 255),
        apply_palette_color_lut=None,
        apply_icc_profile=False,
        dtype=np.float64,
    )
    if not grey and dataset.PhotometricInterpretation != "PALETTE COLOR" and dataset.BitsStored > 8:
        shown = shown // 2 ** (dataset.BitsStored - 8)
    elif not grey and shown.max() > 255:
        shown = shown // 256
    return np.asarray(np.clip(np.rint(shown), 0, 255), np.uint8)


if __name__ == "__main__":
    main()
