"""JPEG 2000 at a lower resolution: the wavelet (ISO 15444-1 F) holds one beside each higher one, and it decodes alone.

Of a radiograph of 2000 x 2500 pixels a quarter of the side takes a seventh of the time. Samples of a lower resolution
are where the first of their pixels did, so that the picture moves by up to half of one of them.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from roco_search.imaging.dicom.decoding import codecs, isolation
from roco_search.imaging.dicom.decoding.codestream import Codestream


def halvings(codec: str, stream: Codestream, factor: int) -> int:
    """Return how often a picture can be halved without getting smaller by more than `factor`; 0 for what cannot be.

    Pillow reads the lower resolutions of one unsigned component without offsets or tiles, where it rounds the size as
    the standard does. OpenJPH reads those of HTJ2K.
    """
    if codec not in {"jpeg2k", "htj2k"} or stream.components != 1 or stream.signed:
        return 0
    wanted = min(stream.halvings, max(1, factor).bit_length() - 1)
    if codec == "htj2k":
        return wanted
    sides = stream.rows, stream.columns
    while wanted and any((side + (1 << wanted >> 1)) >> wanted != -(-side >> wanted) for side in sides):
        wanted -= 1
    return wanted


def decode_lower(codec: str, frame: bytes, stream: Codestream, times: int) -> npt.NDArray[Any] | None:
    """Decode a frame at half the resolution, `times` over.

    Parameters
    ----------
    codec
        Of HTJ2K, or of JPEG 2000.
    frame
        A codestream.
    stream
        What it declares of itself.
    times
        At most `halvings`.

    Returns
    -------
    numpy.ndarray or None
        Unsigned ``(ceil(rows / 2**times), ceil(columns / 2**times))``, of the values of the whole picture; None if it
        cannot be done: the whole picture has to be decoded then.
    """
    values: npt.NDArray[Any] | None
    if codec == "htj2k":
        options = {"skipres": times}
        found = isolation.decode(codec, frame, options)
        values = codecs.decode(codec, frame, options) if found is None else found
    else:
        try:
            values = _by_pillow(frame, stream, times)
        except MemoryError:
            raise
        except Exception:  # of Pillow, which raises anything at all on damaged data; the decoder of the whole decides
            return None
    expected = tuple(-(-side >> times) for side in (stream.rows, stream.columns))
    return values if values is not None and values.shape == expected else None


def _by_pillow(frame: bytes, stream: Codestream, times: int) -> npt.NDArray[np.uint16] | None:
    with Image.open(io.BytesIO(frame), formats=["JPEG2000"]) as image:
        if image.mode not in {"L", "I;16"} or image.size != (stream.columns, stream.rows):
            return None
        image.reduce = times  # type: ignore[method-assign, assignment]
        image.load()
        values = np.asarray(image)
    # Pillow moves the values up to fill its 8 or 16 bits.
    return values.astype(np.uint16) >> np.uint16(8 * values.itemsize - stream.precision)
