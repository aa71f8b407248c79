"""Which decoder opens which transfer syntax: imagecodecs, one family of codecs for all that is compressed.

Which of them run in a process of their own, and why, is explained in `isolation`.
"""

import importlib.util
import logging
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.errors import UnreadableImage
from roco_search.imaging.dicom.decoding.codestream import Codestream
from roco_search.imaging.dicom.tags import NEWER_SYNTAXES, registered_uid

RLE = "1.2.840.10008.1.2.5"
_CODECS: dict[str, str | None] = {
    # Transfer syntax UID: name in imagecodecs; None stands for uncompressed data.
    "1.2.840.10008.1.2.4.50": "jpeg8",  # libjpeg-turbo 3: 8, 10 and 12 bits, and lossless up to 16
    "1.2.840.10008.1.2.4.51": "jpeg8",
    "1.2.840.10008.1.2.4.57": "jpeg8",
    "1.2.840.10008.1.2.4.70": "jpeg8",
    "1.2.840.10008.1.2.4.80": "jpegls",  # CharLS
    "1.2.840.10008.1.2.4.81": "jpegls",
    "1.2.840.10008.1.2.4.90": "jpeg2k",  # OpenJPEG
    "1.2.840.10008.1.2.4.91": "jpeg2k",
    "1.2.840.10008.1.2.4.201": "htj2k",  # OpenJPH
    "1.2.840.10008.1.2.4.202": "htj2k",
    "1.2.840.10008.1.2.4.203": "htj2k",
    **dict.fromkeys(NEWER_SYNTAXES, "jpegxl"),
    RLE: "packbits",
    "1.2.840.10008.1.2": None,
    "1.2.840.10008.1.2.1": None,
    "1.2.840.10008.1.2.1.99": None,
    "1.2.840.10008.1.2.2": None,
}
_PACKAGE = "imagecodecs"
_SLACK = 2**16  # Bytes that a segment may hold too much: padding, or rows that are not shown.
REMEDY = f"pip install {_PACKAGE}"


@dataclass(frozen=True, slots=True)
class DecoderStatus:
    """What this installation can do with one transfer syntax.

    Attributes
    ----------
    name, uid
        The transfer syntax.
    available
        Whether its pixel data can be decoded here.
    by
        The decoder; ("built in",) for uncompressed data.
    remedy
        The command that installs the missing decoder; None if there is nothing to do.
    """

    name: str
    uid: str
    available: bool
    by: tuple[str, ...]
    remedy: str | None


def decoder_table() -> list[DecoderStatus]:
    """Return the state of every transfer syntax that roco knows, for ``roco doctor``."""
    return [_status(uid) for uid in sorted(_CODECS, key=lambda uid: [int(part) for part in uid.split(".")])]


def _status(uid: str) -> DecoderStatus:
    codec = _CODECS[uid]
    if codec is None:
        return DecoderStatus(syntax_name(uid), uid, True, ("built in",), None)
    available = is_available(codec)
    by = (f"{_PACKAGE} ({codec})",) if available else ()
    return DecoderStatus(syntax_name(uid), uid, available, by, None if available else REMEDY)


def is_available(codec: str) -> bool:
    """Return whether a codec of imagecodecs is installed, without loading it."""
    return importlib.util.find_spec(_PACKAGE) is not None and hasattr(importlib.import_module(_PACKAGE), codec.upper())


def syntax_name(uid: str) -> str:
    """Return the registered name of a transfer syntax, which is safe to show, unlike an unregistered UID."""
    from pydicom.uid import UID

    return NEWER_SYNTAXES.get(uid) or UID(uid).name


def codec_of(uid: str) -> str | None:
    """Return the codec of a transfer syntax; None if it is uncompressed.

    Raises
    ------
    UnreadableImage
        If it is a syntax that no decoder here could ever read (video, JPIP, retired ones, private ones), or if
        imagecodecs is not installed.
    """
    if uid not in _CODECS:
        if registered_uid(uid, "Transfer Syntax") is None:
            raise UnreadableImage("its transfer syntax is not one that the standard registers; export it uncompressed")
        raise UnreadableImage(
            f"its transfer syntax, {syntax_name(uid)}, is not decoded by roco; export it uncompressed"
        )
    codec = _CODECS[uid]
    if codec is not None and not is_available(codec):
        raise UnreadableImage(f"no decoder for {syntax_name(uid)} is installed; {REMEDY}")
    return codec


def choose(codec: str, stream: Codestream) -> str:
    """Return the codec to use in the place of `codec`, which OpenJPH's is for a wavelet that is not reversible.

    OpenJPH lets values that lossy coding moved past the end of their range begin again at the other end: white becomes
    black. OpenJPEG reads the same codestreams, in twice the time.
    """
    return "jpeg2k" if codec == "htj2k" and not stream.reversible else codec


def decode(codec: str, frame: bytes, options: dict[str, Any]) -> npt.NDArray[Any]:
    """Decode a codestream in this process: integers ``(rows, columns)`` or ``(rows, columns, components)``.

    Raises whatever the codec raises on damaged data.
    """
    import imagecodecs

    array: npt.NDArray[Any] = getattr(imagecodecs, f"{codec}_decode")(frame, **options)
    return array


def unpack_bytes(packed: bytes, count: int) -> npt.NDArray[np.uint8]:
    """Decode a run-length encoded segment (PackBits, PS3.5 G.3.1) of at least `count` bytes; what is over is left out.

    Raises whatever the codec raises on damaged data.
    """
    import imagecodecs

    found = np.frombuffer(imagecodecs.packbits_decode(packed, out=bytearray(count + _SLACK)), np.uint8)
    if len(found) < count:
        raise ValueError("the segment is too short")
    return found[:count]


def silence() -> None:
    """Silence the libraries that read files, for this process. Cheap, and called before every file is read."""
    # Each time, because a `catch_warnings` block of the host program takes the filters with it when it ends.
    for module in (r"pydicom(\.|$)", r"PIL(\.|$)", r"tifffile(\.|$)", r"nibabel(\.|$)", r"nrrd(\.|$)", r"pypdf(\.|$)"):
        warnings.filterwarnings("ignore", module=module)
    _silence_logs()


@cache
def _silence_logs() -> None:
    for logger in ("pydicom", "PIL", "tifffile", "nibabel", "pypdf"):
        # Child loggers take their level from here; a filter would not reach their records.
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
